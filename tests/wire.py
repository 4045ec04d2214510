"""What the two ends of a PostgreSQL connection say ("Frontend/Backend Protocol"), as far as nothing is encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

STARTUP, TLS, GSS = 196_608, 80_877_103, 80_877_104  # the codes of a connection's first messages (3.0, SSL, GSSAPI)
SHOWN = 200  # characters of a statement


@dataclass(frozen=True)
class Trip:
    """One round trip: what the client had sent, one line for each message, when the server's answer began."""

    conversation: Conversation
    asked: tuple[str, ...]
    is_connecting: bool  # the server had not yet said for the first time that it is ready for a query

    def __str__(self) -> str:
        return f"{self.conversation.name}: {' | '.join(self.asked) or 'encrypted'}"


@dataclass
class Conversation:
    """One connection. Give it what each end sends, in the order in which the client's end sees it.

    A round trip is an answer: bytes from the server after bytes from the client. Hence several messages that are sent
    together are one, and the client's farewell, which nobody answers, is none. Of an encrypted connection there is no
    more to tell than that: it has no name, no messages, and seems to be connecting for ever.
    """

    name: str = ""  # the application_name
    listens: bool = False  # it has sent LISTEN, so that it is the one of a watcher
    heard: bool = False  # the server has said something
    is_connected: bool = False
    is_encrypted: bool = False
    _waiting: bool = field(default=False, repr=False)
    _asked: list[str] = field(default_factory=list, repr=False)
    _sent: bytearray = field(default_factory=bytearray, repr=False)
    _answered: bytearray = field(default_factory=bytearray, repr=False)
    _started: bool = field(default=False, repr=False)  # the client's messages have a type from here on
    _wants_encryption: bool = field(default=False, repr=False)

    def send(self, data: bytes) -> None:
        """Take what the client sends."""
        self._waiting = True
        if not self.is_encrypted:
            self._sent += data
            self._asked += self._messages()

    def answer(self, data: bytes) -> Trip | None:
        """Take what the server sends; the round trip that this completes, if any."""
        trip = Trip(self, tuple(self._asked), not self.is_connected) if self._waiting else None
        self.heard = True
        if trip:
            self._waiting, self._asked = False, []
        if self._wants_encryption:
            self._wants_encryption, self.is_encrypted, data = False, data[:1] in {b"S", b"G"}, data[1:]
        if not self.is_connected and not self.is_encrypted:
            self._answered += data
            self.is_connected = any(kind == b"Z" for kind, _ in _typed(self._answered))
        return trip

    def _messages(self) -> Iterator[str]:
        while not self._started and len(self._sent) >= 8 and len(self._sent) >= (size := _number(self._sent, 0)):
            code, body = _number(self._sent, 4), bytes(self._sent[8:size])
            del self._sent[:size]
            self._started, self._wants_encryption = code == STARTUP, code in {TLS, GSS}
            if self._started:
                words = body.decode(errors="replace").split("\0")
                self.name = dict(zip(words[::2], words[1::2], strict=False)).get("application_name", "")
            yield {STARTUP: "startup", TLS: "TLS?", GSS: "GSSAPI?"}.get(code, f"code {code}")
        if self._started:
            yield from map(self._told, _typed(self._sent))

    def _told(self, message: tuple[bytes, bytes]) -> str:
        kind, body = message
        if kind not in {b"Q", b"P"}:
            return {b"p": "password", b"X": "terminate"}.get(kind, kind.decode(errors="replace"))
        said = body.decode(errors="replace").strip("\0")
        self.listens = self.listens or "LISTEN " in said
        return " ".join(said.split())[:SHOWN]


def _number(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _typed(data: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Take the whole messages off the beginning: each one's type and body."""
    while len(data) >= 5 and len(data) > (size := _number(data, 1)):
        kind, body = bytes(data[:1]), bytes(data[5 : size + 1])
        del data[: size + 1]
        yield kind, body
