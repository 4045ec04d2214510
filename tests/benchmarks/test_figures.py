"""The arithmetic of the measurements."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmarks.figures import children, cpu_seconds, memory, percentile


def test_a_percentile_is_a_sample_by_nearest_rank() -> None:
    """The example of Wikipedia's "Percentile", the nearest-rank method."""
    samples = [50, 15, 40, 20, 35]
    assert [percentile(samples, share) for share in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]


def test_the_99th_of_a_hundred_leaves_one_above() -> None:
    assert percentile(range(1, 101), 99) == 99


def test_one_sample_is_every_percentile() -> None:
    assert percentile([7.0], 1) == percentile([7.0], 99) == 7.0


def test_cpu_seconds_are_those_that_the_process_itself_counts() -> None:
    before = time.process_time()
    read = cpu_seconds(os.getpid())
    assert before <= read <= time.process_time()


def test_cpu_seconds_are_those_that_the_kernel_accounts_to_another_process() -> None:
    """Compared with wait4's account, which has the child's last moments in it too."""
    work = "import sys; sum(range(3_000_000)); print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        child.stdout.readline()
        read = cpu_seconds(child.pid)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert 0 < read <= usage.ru_utime + usage.ru_stime + 0.001


def test_a_process_that_is_gone_has_no_clock() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_seconds(child.pid)


def test_children_and_memory_of_this_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children(os.getpid())
        rss, pss = memory(os.getpid())
        child.communicate(b"\n")
    assert 5 < pss <= rss < 5_000
