"""A PostgreSQL server that is far away: a TCP proxy that delays each byte, counts round trips, freezes and cuts."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy.engine import make_url

from .guard import sitecustomize as guard
from .ports import free_port
from .wire import Conversation, Trip

__all__ = ["Proxy", "far", "proxied"]

CHUNK = 65_536  # bytes
PATIENCE = 30.0  # seconds for the thread to do what it is told
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
Told = Callable[[bytes], None]


class Proxy:
    """Delivers each byte half a round trip after it came, in order; any number may be on the way at once.

    Connecting costs a round trip too. A client on loopback is connected at once, so what it sends before the server has
    said anything waits for that round trip longer. The server hears of a connection with its first bytes only; where it
    refuses, the client's connection is reset.

    Frozen, it delivers nothing, and keeps what comes in both directions until it thaws: a stopped server does the same.
    Down, it resets every connection, those that come too. `round_trip` may change while it runs.
    """

    def __init__(self, url: str, round_trip: float) -> None:
        server = make_url(url)
        self._server = str(server.host), server.port or 5432
        guard.check_database({"host": self._server[0], "port": str(self._server[1])})
        guard.allowed.add(self._server[1])
        self._port, self.round_trip, self._down = free_port(), round_trip, False
        self.url = server.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)
        self._completed: list[Trip] = []
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop, self._thawed = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """End every connection, and the thread."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def freeze(self) -> None:
        self._run(_call(self._thawed.clear))

    def thaw(self) -> None:
        self._run(_call(self._thawed.set))

    def cut(self) -> None:
        """Reset every connection, at both ends and at once."""
        self._run(_call(self._reset))

    def go_down(self) -> None:
        self._down = True
        self.cut()

    def come_up(self) -> None:
        self._down = False

    @contextmanager
    def trips(self, name: str | None = None) -> Iterator[list[Trip]]:
        """The round trips that end during the block, filled in when it is left; with a name, those of its connections.

        The name is the application_name, which an encrypted connection does not show.
        """
        found: list[Trip] = []
        first = len(self._completed)
        yield found
        found += [trip for trip in self._completed[first:] if name in {None, trip.conversation.name}]

    def _run(self, job: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(job, self._loop).result(PATIENCE)

    async def _listen(self) -> None:
        self._thawed.set()
        self._listener = await asyncio.start_server(self._begin, "127.0.0.1", self._port)

    async def _end(self) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the loop's next round

    def _reset(self) -> None:
        for end in self._ends:
            _abort(end)

    def _begin(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._down:
            _abort(client)
            return
        task = asyncio.create_task(self._serve(reader, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        conversation, ends = Conversation(), [client]
        to_server = _Direction(self._thawed, lambda: self.round_trip * (0.5 if conversation.heard else 1.5))
        self._ends.add(client)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(to_server.receive(reader, conversation.send))
                if first := await to_server.next():
                    answers, server = await asyncio.open_connection(*self._server)
                    ends.append(server)
                    self._ends.add(server)
                    server.write(first)
                    group.create_task(to_server.deliver(server))
                    group.create_task(self._answer(answers, client, conversation))
            client.close()
        except* OSError:  # the server refuses
            _abort(client)
        finally:
            self._ends.difference_update(ends)
            for end in ends:
                end.close()

    async def _answer(
        self, answers: asyncio.StreamReader, client: asyncio.StreamWriter, conversation: Conversation
    ) -> None:
        def count(data: bytes) -> None:
            if trip := conversation.answer(data):
                self._completed.append(trip)

        to_client = _Direction(self._thawed, lambda: self.round_trip / 2)
        async with asyncio.TaskGroup() as group:
            group.create_task(to_client.receive(answers))
            group.create_task(to_client.deliver(client, count))


class _Direction:
    """What is on the way from one end to the other: chunks with the time when each is due."""

    def __init__(self, thawed: asyncio.Event, delay: Callable[[], float]) -> None:
        self._thawed, self._delay = thawed, delay
        # b"" ends the stream, None resets the connection.
        self._under_way: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()

    async def receive(self, reader: asyncio.StreamReader, tell: Told | None = None) -> None:
        """Take what one end sends, until it ends; `tell` hears of it at once."""
        chunk: bytes | None = None
        while chunk is None or chunk:
            try:
                chunk = await reader.read(CHUNK)
            except OSError:
                self._under_way.put_nowait((self._now() + self._delay(), None))
                return
            self._under_way.put_nowait((self._now() + self._delay(), chunk))
            if tell and chunk:
                tell(chunk)

    async def next(self) -> bytes | None:
        """Wait for the next chunk, and until it is due."""
        due, chunk = await self._under_way.get()
        await asyncio.sleep(due - self._now())
        await self._thawed.wait()
        return chunk

    async def deliver(self, writer: asyncio.StreamWriter, tell: Told | None = None) -> None:
        """Hand the chunks to the other end; `tell` hears of each just before.

        Where that end has gone meanwhile, whoever receives from it notices.
        """
        chunk: bytes | None = b""
        with suppress(OSError):
            while chunk := await self.next():
                if tell:
                    tell(chunk)
                writer.write(chunk)
                await writer.drain()
            if chunk is None:
                _abort(writer)
            else:
                writer.write_eof()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _call(function: Callable[[], None]) -> None:
    function()


def _abort(end: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # it is closed already
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    end.transport.abort()


@contextmanager
def proxied(url: str, round_trip: float = 0.0) -> Iterator[Proxy]:
    """Run a proxy before the server of this URL for the block."""
    proxy = Proxy(url, round_trip)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


@contextmanager
def far(url: str, *, round_trip: float) -> Iterator[str]:
    """The URL of the same database, so many seconds away, for the block."""
    with proxied(url, round_trip) as proxy:
        yield proxy.url
