"""Which requests the demo server answers: its hosts and origins, and how much it accepts.

A page of another site can reach a server on this machine through the browser of whoever visits it: directly, or under
a name of that site that is made to resolve to this machine (DNS rebinding). Both show in the Host or the Origin that
the browser sends, so a name is answered only where it is one of this server's. A numeric address is always answered:
no site can make it its own.
"""

import contextlib
import ipaddress
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 100_000_000  # bytes of a request: an hour and a half of MP3 at 128 kbit/s
MOST = 1_000_000_000  # bytes of recordings that are there at once
KEPT = 1800  # seconds that a recording stays
TOO_LARGE = f"A recording may have {LARGEST // 1_000_000} MB here."
HOSTS = ("localhost", "localhost.localdomain")


class TooLarge(Exception):  # noqa: N818 (a visitor's, no error of ours)
    """A request beyond LARGEST."""


class Door:
    """ASGI middleware: refuses hosts that are not `hosts`, origins that are not, and what is too large."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], recordings: Path):
        self.app, self.recordings = app, recordings
        self.hosts = {host.lower().rstrip(".") for host in (*HOSTS, socket.gethostname(), *hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(scope, send, *refusal)
            return
        begun, taken = False, 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > LARGEST:
                raise TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, limited, watched)
        except TooLarge:
            if not begun:
                await _answer(scope, send, 413, TOO_LARGE)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        """(status, sentence) where the request is not taken."""
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not self._known(f"//{host}"):
            return 403, f"This server does not answer for {host!r}; start it with --allow-host to allow that name."
        if origin is not None and not self._known(origin):
            return 403, f"This server accepts nothing from pages of {origin!r}."
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST:
            return 413, TOO_LARGE
        if scope.get("method") == "POST" and _bytes(self.recordings) + int(length) > MOST:
            return 507, "There are too many recordings here at the moment; try again in some minutes."
        return None

    def _known(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            name, _ = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:  # also of a port that is no number
            return False
        return name in self.hosts or _is_address(name)


def tidy(recordings: Path) -> None:
    """Removes recordings, and parts of interrupted uploads, KEPT seconds after they were written."""
    for path in recordings.rglob("*"):
        with contextlib.suppress(OSError):  # another was first
            if path.is_file() and time.time() - path.stat().st_mtime > KEPT:
                path.unlink()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bytes(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # gone since
            found += path.stat().st_size if path.is_file() else 0
    return found


async def _answer(scope: Scope, send: Send, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence[:100]})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{sentence}\n".encode()})
