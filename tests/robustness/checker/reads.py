"""The properties of answers, most of them by the states that an answer may come from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ..record import Read
from .bounds import Placed, changes_over, is_answer
from .case import Case, Found, name
from .disturbances import PROXY

GATE = ("gate", "platform")
CONFESSIONS = ("newest change of the database is", "older one than")  # what a log says of a database that went back
NEAR = 2.0  # seconds around two answers in which the log has to say it


def nobody_goes_back(case: Case) -> Found:
    """Yield answers that are older than one that the same worker gave before."""
    for reads in _by_worker(case).values():
        yield from _smaller_revisions(case, reads)
    for placed in case.placed:
        if placed.index is None and placed.index_of_anybody is not None and placed.read.question not in GATE:
            told = f"answers with state {placed.index_of_anybody}, and had seen state {placed.own} before"
            yield f"{name(placed.read)} {told}", placed.read.received


def _by_worker(case: Case) -> dict[tuple[str, int], list[Read]]:
    """Return the answers with a revision of each worker, in the order in which they came."""
    found: dict[tuple[str, int], list[Read]] = {}
    for placed in case.placed:
        read = placed.read
        if read.host != PROXY and read.worker and is_answer(read) and isinstance(read.answer.get("revision"), int):
            found.setdefault((read.host, read.worker), []).append(read)
    return found


def _smaller_revisions(case: Case, reads: list[Read]) -> Found:
    """Yield answers with a smaller revision than one that came before the question, unless the log says why."""
    begin = 0
    latest: list[Read] = []  # of those from `begin` on the one with the greatest revision so far
    for place, read in enumerate(reads):
        before = bisect_left(reads, read.sent, begin, place, key=lambda known: known.received) - begin
        if before and latest[before - 1].answer["revision"] > read.answer["revision"]:
            first = latest[before - 1]
            if not _confessed(case, first, read):
                told = f"answers with revision {read.answer['revision']} after {first.answer['revision']}"
                yield f"{name(read)} {told}, and no log says why", read.received
            begin, latest = place, []
        latest.append(_newer(latest[-1], read) if latest else read)


def _newer(first: Read, second: Read) -> Read:
    """Return the one with the greater revision, of equal ones the later."""
    return first if first.answer["revision"] > second.answer["revision"] else second


def _confessed(case: Case, first: Read, second: Read) -> bool:
    return any(
        line.host == first.host
        and line.level == "error"
        and first.sent - NEAR <= line.at <= second.received + NEAR
        and any(text in line.event for text in CONFESSIONS)
        for line in case.history.lines
    )


def everyone_hears(case: Case) -> Found:
    """Yield answers that are wrong, too old or too late, and questions without one though nothing stood in the way."""
    answered: dict[tuple[str, int], float] = {}  # when a worker gave its first answer
    for placed in case.placed:
        read = placed.read
        if not is_answer(read):
            if not _excused(case, read, answered.get((read.host, read.worker))):
                code = read.answer.get("code")
                yield f"{name(read)} got status {read.status} and code {code}, undisturbed", read.received
            continue
        answered.setdefault((read.host, read.worker), read.received)
        if case.disturbances.slow(read) and not case.disturbances.excuse(read, starts=True):
            yield f"{name(read)} waited {read.received - read.sent:.1f} s for an answer, undisturbed", read.received
        elif read.question not in GATE and placed.index_of_anybody is None:
            told = f"answers {read.answer}, which is none of the states {placed.fresh} to {placed.high}"
            yield f"{name(read)} {told}{_instead(case, placed)}", read.received


def _excused(case: Case, read: Read, answered: float | None) -> bool:
    """Whether a question may have stayed without a proper answer; the worker gave its first one at `answered`."""
    if read.status == 503 and read.answer.get("code") == "state_unknown":
        knew = bool(read.worker) and answered is not None and answered < read.sent
        return not knew and case.disturbances.may_not_know(read)
    own = read.host == PROXY and (read.status or 0) >= 500 and "code" not in read.answer  # an error of the proxy's own
    return (read.status is None or own) and case.disturbances.excuse(read)


def nothing_passes_that_the_policy_refuses(case: Case) -> Found:
    """Yield what passed the gate in no state in which it may."""
    yield from _verdicts(case, passed=True)


def nothing_is_refused_that_it_lets_through(case: Case) -> Found:
    """Yield what the gate refused in no state in which it may."""
    yield from _verdicts(case, passed=False)


def _verdicts(case: Case, *, passed: bool) -> Found:
    for placed in case.placed:
        read = placed.read
        wrong = read.question in GATE and is_answer(read) and placed.index is None
        if wrong and (read.status == 200) is passed:
            low = max(placed.fresh, placed.own)
            verdict = "lets through" if passed else "refuses"
            told = f"{verdict} {_told(read)} that none of the states {low} to {placed.high} {verdict}"
            yield f"{name(read)} {told}{_instead(case, placed)}", read.received


def _instead(case: Case, placed: Placed) -> str:
    """Say which state would give a wrong answer."""
    index = case.policy.first_match(placed.read, 0, case.states.last)
    return "; no state gives it" if index is None else f"; state {index} gives it, after {_made(case, index)}"


def _made(case: Case, index: int) -> str:
    step = case.states.steps[index]
    return step.reason or f"the beginning of epoch {step.epoch}"


def _told(read: Read) -> str:
    return f"a request with bypass {read.bypass}" if read.bypass else "a request"


def all_agree_at_the_end(case: Case) -> Found:
    """Yield who does not answer with the last state after everything was mended."""
    ends = [placed for placed in case.placed if placed.read.at_the_end and placed.read.question not in GATE]
    last = case.states.last
    for placed in ends:
        read = placed.read
        if not is_answer(read) or case.policy.first_match(read, last, last) is None:
            told = f"answers {read.status} {read.answer} at the end, which is not the last state, {last}"
            yield f"{name(read)} {told}", read.received
    asked = {(placed.read.host, placed.read.question) for placed in ends}
    for host, question in _hosts_and_questions(case):
        if (host, question) not in asked:
            yield f"{host} was not asked for {question} at the end", case.history.run.seconds


def _hosts_and_questions(case: Case) -> Iterator[tuple[str, str]]:
    for host in sorted({worker.host for worker in case.history.workers}):
        yield from ((host, question) for question in ("settings", "maintenance"))


def own_write_is_read(case: Case) -> Found:
    """Yield answers that do not show the change that the same worker had acknowledged just before."""
    sent = {write.id: write.sent for write in case.history.writes}
    for placed in case.placed:
        read = placed.read
        made = case.states.made_by(read.after) if read.after else None
        if made is None or not is_answer(read) or _copied(case, sent.get(read.after or "", read.sent), read.received):
            continue
        if _older(case, placed, made):
            yield f"{name(read)} does not show the write {read.after}, which it had acknowledged", read.received


def _copied(case: Case, begin: float, end: float) -> bool:
    """Whether another copy came into force meanwhile."""
    return any(changes_over(life.epoch, begin, end) for life in case.states.lives)


def _older(case: Case, placed: Placed, made: int) -> bool:
    """Whether an answer comes from a state, but from none since a write."""
    matches = case.policy.first_match(placed.read, made, placed.high) is not None
    return placed.index is not None and not matches
