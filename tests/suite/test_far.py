"""The proxy that puts a server far away delays, counts, freezes and cuts, and changes nothing else."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from dop_be.deadline import time_limit

from ..clock import eventually
from ..far import far, proxied
from ..ports import free_port
from ..postgres import execute
from ..secured import PASSWORD, SecuredCluster
from ..wire import Conversation, Trip

ROUND_TRIP, LONG = 0.1, 0.5  # seconds


@pytest.fixture(scope="module")
def cluster() -> Iterator[SecuredCluster]:
    secured = SecuredCluster()
    try:
        secured.start()
        secured.create("things")
        yield secured
    finally:
        secured.remove()


@pytest.fixture
def url(cluster: SecuredCluster) -> str:
    """Without TLS, so that the proxy sees what is said."""
    return cluster.secured_url("things", "disable")


@contextmanager
def connected(url: str) -> Iterator[tuple[Any, Any]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        yield connection, cursor


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets over one connection; its port."""
    with socket.create_server(("127.0.0.1", free_port())) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(ConnectionResetError):
                while data := connection.recv(100):
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(30)


def asked(trips: list[Trip]) -> list[tuple[str, ...]]:
    return [trip.asked for trip in trips]


def test_a_statement_takes_one_round_trip(url: str) -> None:
    with proxied(url, ROUND_TRIP) as proxy, connected(proxy.url) as (connection, cursor):
        connection.autocommit = True
        began = time.monotonic()
        with proxy.trips() as trips:
            cursor.execute("SELECT 1")
        assert time.monotonic() - began >= ROUND_TRIP
        assert asked(trips) == [("SELECT 1",)]
        assert cursor.fetchone() == (1,)


def test_several_statements_in_one_message_take_one_round_trip(url: str) -> None:
    with proxied(url) as proxy, connected(proxy.url) as (connection, cursor):
        connection.autocommit = True
        with proxy.trips() as trips:
            cursor.execute("SELECT 1; SELECT 2; SELECT 3")
        assert asked(trips) == [("SELECT 1; SELECT 2; SELECT 3",)]


def test_a_transaction_of_psycopg2_takes_three(url: str) -> None:
    with proxied(url) as proxy, connected(proxy.url) as (connection, cursor):
        with proxy.trips() as trips:
            cursor.execute("SELECT 1")
            connection.commit()
        assert asked(trips) == [("BEGIN",), ("SELECT 1",), ("COMMIT",)]


def test_messages_that_do_not_wait_for_each_other_take_one_round_trip() -> None:
    conversation = Conversation()
    conversation.send(b"\0\0\0\x24\0\3\0\0application_name\0a program\0\0")
    begun = conversation.answer(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I")
    conversation.send(b"Q\0\0\0\x0aBEGIN\0" + b"Q\0\0\0\x0dSEL")
    conversation.send(b"ECT 1\0")
    answers = [conversation.answer(b"C\0\0\0\x0aBEGIN\0"), conversation.answer(b"Z\0\0\0\5T")]
    conversation.send(b"X\0\0\0\4")
    assert begun == Trip(conversation, ("startup",), is_connecting=True)
    assert answers == [Trip(conversation, ("BEGIN", "SELECT 1"), is_connecting=False), None]
    assert conversation.name == "a program"


def test_what_is_sent_meanwhile_does_not_wait_for_what_is_on_the_way() -> None:
    """A delay, and no queue: twenty packets that are sent a hundredth of the delay apart come as far apart."""
    sent: list[float] = []
    back: list[tuple[float, int]] = []
    with (
        echo() as port,
        far(f"postgresql://postgres@127.0.0.1:{port}/x", round_trip=LONG) as url,
        socket.create_connection(("127.0.0.1", make_url(url).port or 0)) as client,
    ):
        client.sendall(b"!")
        assert client.recv(1) == b"!"
        for number in range(20):
            sent.append(time.monotonic())
            client.sendall(bytes([number]))
            time.sleep(LONG / 100)
        while len(back) < 20:
            back += [(time.monotonic(), each) for each in client.recv(20)]
    delays = [at - begun for (at, _), begun in zip(back, sent, strict=True)]
    assert [number for _, number in back] == list(range(20))
    assert min(delays) >= LONG
    assert sum(delays) < 20 * 2 * LONG


def test_connecting_takes_a_round_trip_of_tcp_and_three_of_scram(cluster: SecuredCluster) -> None:
    """RFC 5802: client-first and server-first, client-final and server-final; before them the startup message."""
    with proxied(cluster.secured_url("things", "disable"), ROUND_TRIP) as proxy, proxy.trips() as trips:
        began = time.monotonic()
        with connected(proxy.url):
            assert time.monotonic() - began >= (1 + 3) * ROUND_TRIP
    assert asked(trips) == [("startup",), ("password",), ("password",)]
    assert all(trip.is_connecting for trip in trips)


def test_round_trips_are_told_apart_by_the_connections_name(url: str) -> None:
    with (
        proxied(url) as proxy,
        connected(proxy.url + "&application_name=one") as (_, one),
        connected(proxy.url + "&application_name=two") as (_, two),
    ):
        with proxy.trips("two") as trips, proxy.trips() as both:
            one.execute("LISTEN something")
            two.execute("SELECT 2")
        assert asked(trips) == [("BEGIN",), ("SELECT 2",)]
        assert {(trip.conversation.name, trip.conversation.listens) for trip in both} == {("one", True), ("two", False)}


def test_an_encrypted_connection_is_counted_without_its_content(cluster: SecuredCluster) -> None:
    with proxied(cluster.secured_url("things")) as proxy, connected(proxy.url) as (connection, cursor):
        connection.autocommit = True
        with proxy.trips() as trips:
            cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == (True,)
        assert [(trip.asked, trip.conversation.is_encrypted) for trip in trips] == [((), True)]


def test_content_and_order_are_kept(cluster: SecuredCluster) -> None:
    """Five megabytes there and back, through many chunks that are under way at once."""
    value = random.Random(1).randbytes(5_000_000)
    with far(cluster.secured_url("things"), round_trip=0.02) as url, connected(url) as (_, cursor):
        cursor.execute("SELECT %s::bytea", (value,))
        assert bytes(cursor.fetchone()[0]) == value


def test_a_frozen_server_says_nothing_and_goes_on_when_it_thaws(url: str) -> None:
    with proxied(url) as proxy, connected(proxy.url) as (_, cursor):
        proxy.freeze()
        with pytest.raises(psycopg2.OperationalError, match="in time"), time_limit(1.0):
            psycopg2.connect(proxy.url)
        thread = threading.Thread(target=cursor.execute, args=("SELECT 1",))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        proxy.thaw()
        thread.join(30)
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_cut_resets_every_connection_and_the_next_one_works(cluster: SecuredCluster, url: str, frozen: bool) -> None:
    ours = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'cut'"
    with proxied(url) as proxy, connected(proxy.url + "&application_name=cut") as (_, cursor):
        assert len(execute(cluster.url(), ours)) == 1
        if frozen:
            proxy.freeze()
        proxy.cut()
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
        eventually(30, lambda: execute(cluster.url(), ours) == [])
        proxy.thaw()
        assert execute(proxy.url, "SELECT 2") == [(2,)]


def test_a_network_that_is_down_resets_every_connection_until_it_comes_up(url: str) -> None:
    with proxied(url) as proxy:
        with connected(proxy.url) as (_, cursor):
            proxy.go_down()
            with pytest.raises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")
        for _ in range(3):
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(proxy.url)
        proxy.come_up()
        with connected(proxy.url) as (_, cursor):
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]


def test_the_distance_may_change_under_an_open_connection(url: str) -> None:
    with proxied(url) as proxy, connected(proxy.url) as (_, cursor):
        cursor.execute("SELECT 1")
        proxy.round_trip = LONG
        began = time.monotonic()
        cursor.execute("SELECT 1")
        assert time.monotonic() - began >= LONG


def test_a_server_that_refuses_is_told(cluster: SecuredCluster) -> None:
    nobody = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    with far(nobody, round_trip=0.0) as url, pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)


def test_the_end_of_a_connection_reaches_the_other_end(cluster: SecuredCluster, url: str) -> None:
    ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ending'"
    with proxied(url) as proxy:
        with connected(proxy.url + "&application_name=ending"):
            assert len(execute(cluster.url(), ours)) == 1
        eventually(30, lambda: execute(cluster.url(), ours) == [])
        with connected(proxy.url + "&application_name=ending") as (_, cursor):
            execute(cluster.url(), ours.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
            with pytest.raises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")


def test_the_service_has_to_show_its_password(cluster: SecuredCluster) -> None:
    assert execute(cluster.secured_url("things"), "SELECT current_user") == [("service",)]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(cluster.secured_url("things").replace(PASSWORD, "another"))


def test_a_proxy_ends_with_open_connections(url: str) -> None:
    with proxied(url, 0.01) as proxy:
        open_one = psycopg2.connect(proxy.url)
        silent = socket.create_connection(("127.0.0.1", make_url(proxy.url).port or 0))
        proxy.freeze()
    with closing(open_one), silent, pytest.raises(psycopg2.OperationalError):
        open_one.cursor().execute("SELECT 1")
