"""A server of the viewer's page and of the bytes of the files that it shows, for this machine alone.

Whoever is on the machine could connect, and any page in the browser could send requests. So the address holds a random
token, without which nothing is answered; a request must name this machine as its host, which a page that had its own
name lead here (DNS rebinding) does not; and no header lets other pages read an answer.
"""

from __future__ import annotations

import errno
import hmac
import os
import re
import secrets
import socket
import socketserver
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff_plugins.viewer.page import content_policy, page
from emnist_diff_plugins.viewer.shown import Shown

HOST = "127.0.0.1"
_HOSTS = frozenset({HOST, "localhost", "[::1]"})
_BLOCK = 1 << 20
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
_LONGEST_NUMBER = 18
"""Digits of an offset."""


@attrs.frozen
class Span:
    """Bytes of a file: `length` of them from `start` on."""

    start: int
    length: int


def span(header: str | None, size: int) -> Span | None:
    """What a ``Range`` header requests of a file of `size` bytes; None where it requests nothing that is known, so that
    all is sent.

    Raises `ValueError` for a range that the file has nothing of, and for several at once.
    """
    if header is None or not header.strip().lower().startswith("bytes"):
        return None
    if "," in header:
        raise ValueError("ranges are sent one at a time")
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if max(map(len, found.groups())) > _LONGEST_NUMBER:
        raise ValueError("the file has no such bytes")
    if not found[1]:
        length = min(int(found[2]), size)
        if not length:
            raise ValueError("the file has no such bytes")
        return Span(size - length, length)
    start, last = int(found[1]), int(found[2]) if found[2] else size - 1
    if found[2] and last < start:
        return None
    if start >= size:
        raise ValueError("the file has no such bytes")
    return Span(start, min(last, size - 1) - start + 1)


class Server(ThreadingHTTPServer):
    """Answers requests for the page and for ranges of these files, until it is closed; a context manager.

    address: of the page, with the token.
    Raises `ConfigError` when the port is taken or not allowed, `OutputError` where the page was not built.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, files: Sequence[Shown], port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
        self.files: dict[str, Shown] = {}
        html = page([self._entry(file) for file in files])
        self.html, self.policy = html.encode(), f"{content_policy(html)}; frame-ancestors 'none'"
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            reason = "is taken" if taken else f"cannot be used: {getattr(error, 'strerror', None) or error}"
            raise ConfigError(f"--port {port} {reason} — name another, or leave it out for one that is free") from error
        self.address = f"http://{HOST}:{self.server_address[1]}/{self.token}/"

    def _entry(self, shown: Shown) -> Mapping[str, Any]:
        """What the page is told of a file, which has an address from now on."""
        url = f"file/{len(self.files)}/{quote(shown.name, safe='')}"
        self.files[url] = shown
        entry: dict[str, Any] = {"name": shown.name, "bytes": shown.bytes, "url": url}
        return entry if shown.sidecar is None else {**entry, "sidecar": self._entry(shown.sidecar)}

    def server_bind(self) -> None:
        """Bind without a look-up of this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers hang up amid an answer whenever they please, which is no fault."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError | socket.timeout):
            get_logger().warning("view.request_failed", error=f"{type(error).__name__}: {error}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "emnist-diff", ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Every scrubbed step is a request: nothing is logged of those that were answered."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Plain text: nothing of the request is repeated."""
        if code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.close_connection = True
        self._refuse(code, message or HTTPStatus(code).phrase, {})

    def _answer(self, body: bool) -> None:
        server = cast(Server, self.server)
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0].lower() not in _HOSTS and host.lower() not in _HOSTS:
            self._refuse(HTTPStatus.FORBIDDEN, "this server answers for this machine alone", {})
            return
        token, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not hmac.compare_digest(unquote(token).encode(), server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "use the whole address that emnist-diff view has printed", {})
        elif self.headers.get("Sec-Fetch-Site") == "cross-site" and rest:
            self._refuse(HTTPStatus.FORBIDDEN, "other pages read nothing from this server", {})
        elif not rest and not self.path.split("?")[0].endswith("/"):
            self._begin(HTTPStatus.PERMANENT_REDIRECT, 0, {"Location": f"/{server.token}/"})
        elif not rest:
            policy = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": server.policy}
            self._begin(HTTPStatus.OK, len(server.html), policy)
            if body:
                self.wfile.write(server.html)
        elif rest in server.files:
            self._send_file(server.files[rest], body)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such file", {})

    def _send_file(self, shown: Shown, body: bool) -> None:
        try:
            file = shown.path.open("rb", buffering=0)
        except OSError as error:
            self._refuse(HTTPStatus.GONE, f"{shown.name} cannot be read any more: {error.strerror}", {})
            return
        with file:
            size = file.seek(0, 2)
            # weak: a run that is still recorded changes bytes of a file that stays the same
            headers = {
                "Content-Type": "application/octet-stream",
                "Accept-Ranges": "bytes",
                "ETag": f'W/"{os.fstat(file.fileno()).st_ino:x}-{size:x}"',
            }
            try:
                part = span(None if "If-Range" in self.headers else self.headers.get("Range"), size)
            except ValueError as error:
                self._refuse(416, str(error), {"Content-Range": f"bytes */{size}"})
                return
            status, sent = HTTPStatus.OK, part or Span(0, size)
            if part is not None:
                status = HTTPStatus.PARTIAL_CONTENT
                headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{size}"
            self._begin(status, sent.length, headers)
            if body:
                self._send_bytes(file, sent)

    def _send_bytes(self, file: BinaryIO | Any, part: Span) -> None:
        file.seek(part.start)
        left = part.length
        while left and (data := file.read(min(left, _BLOCK))):
            self.wfile.write(data)
            left -= len(data)
        if left:  # the file has become shorter: what was promised cannot be sent
            self.close_connection = True

    def _refuse(self, code: int, why: str, headers: Mapping[str, str]) -> None:
        text = f"{why}\n".encode()
        self._begin(code, len(text), {"Content-Type": "text/plain; charset=utf-8", **headers})
        if self.command != "HEAD":
            self.wfile.write(text)

    def _begin(self, code: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        refused = {} if "Content-Security-Policy" in headers else {"Content-Security-Policy": "default-src 'none'"}
        for name, value in {**_HEADERS, **refused, **headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
