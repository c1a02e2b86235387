"""The viewer's server: bytes to the bit, and nothing for strangers."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from emnist_diff.errors import ConfigError, OutputError
from emnist_diff_plugins.viewer import page as pages
from emnist_diff_plugins.viewer.serve import Server, Span, span
from emnist_diff_plugins.viewer.shown import Shown

pytestmark = pytest.mark.usefixtures("plain_page")


@attrs.frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(server: Server, path: str = "", method: str = "GET", **headers: str) -> Answer:
    """What the server answers; a path is relative to the page unless it begins with a slash."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    try:
        target = path if path.startswith("/") else f"/{server.token}/{path}"
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "trajectory.h5"
    path.write_bytes(bytes(range(256)) * 40)
    return path


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=5-", Span(5, 95)),
        ("bytes=-7", Span(93, 7)),
        ("bytes=-700", Span(0, 100)),
        ("Bytes = 90-1000", Span(90, 10)),
        ("bytes=9-3", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=1-2", None),
        ("bytes=100-", "no such bytes"),
        ("bytes=-0", "no such bytes"),
        ("bytes=0-1,4-5", "one at a time"),
        (f"bytes={'9' * 5000}-", "no such bytes"),
        ("bytes=٣-", None),
    ],
)
def test_a_range_is_what_http_means_by_it(header: str | None, expected: Span | str | None):
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            span(header, 100)
    else:
        assert span(header, 100) == expected


def test_the_page_says_what_is_served_and_each_byte_of_it_can_be_had(serving, data: Path):
    odd = data.with_name('a <!--<script><b> é "%?#.h5')
    odd.write_bytes(b"odd")
    server = serving(attrs.evolve(Shown(data.name, data), sidecar=Shown(odd.name, odd)), odd)
    page = ask(server)
    assert page.status == 200
    text = page.body.decode()
    found = re.findall(r'<script type="application/json" id="served">(.*?)</script>', text)
    (served,) = map(json.loads, found)
    assert text.index('id="served"') < text.index('<script type="module">')
    assert served[0]["name"] == "trajectory.h5"
    assert served[0]["bytes"] == 10240
    assert served[0]["sidecar"]["name"] == served[1]["name"] == odd.name
    assert ask(server, served[0]["sidecar"]["url"]).body == ask(server, served[1]["url"]).body == b"odd"
    url = served[0]["url"]
    for header, expected in {
        "bytes=0-7": data.read_bytes()[:8],
        "bytes=10000-": data.read_bytes()[10000:],
        "bytes=-3": data.read_bytes()[-3:],
    }.items():
        part = ask(server, url, Range=header)
        assert (part.status, part.body) == (206, expected)
    assert part.headers["Content-Range"] == "bytes 10237-10239/10240"
    assert ask(server, url).body == data.read_bytes()
    assert ask(server, url, Range="bytes=0-1", If_Range='"other"').status == 200
    head = ask(server, url, "HEAD", Range="bytes=1-4")
    assert (head.status, head.body, head.headers["Content-Length"]) == (206, b"", "4")
    beyond = ask(server, url, Range="bytes=10240-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */10240")


def test_headers_keep_pages_and_caches_out(serving, data: Path):
    server = serving(data)
    url = f"file/0/{data.name}"
    for path in ("", url, "nothing", "/"):
        headers = ask(server, path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert not [name for name in headers if name.lower().startswith("access-control")]
    policy = ask(server).headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert len(re.findall(r"sha256-", policy)) == 2, "of the script and the style, and not of the data"
    assert "frame-ancestors 'none'" in policy


def test_strangers_get_nothing(serving, data: Path):
    server = serving(data)
    url, port = f"file/0/{data.name}", server.server_address[1]
    for host in ("evil.example", f"evil.example:{port}", "", "127.0.0.1.evil.example", f"localhost@evil:{port}"):
        assert ask(server, url, Host=host).status == 403, host
    for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1:9", f"[::1]:{port}"):
        assert ask(server, url, Host=host).status == 200, host
    assert ask(server, url, Sec_Fetch_Site="cross-site").status == 403
    wrong = server.token[:-1] + ("A" if server.token[-1] != "A" else "B")
    for path in ("/", f"/{wrong}/", f"/{wrong}/{url}", f"/{url}", "/%C3%A9%FF", "//", "/..%2f"):
        assert ask(server, path).status == 404, path
    for path in ("file/1/x", "file/0/..", "file/0/../../../../etc/passwd", "file/0/", "../x", f"{url}/"):
        assert ask(server, path).status == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, url, method).status == 501
    assert ask(server, f"/{server.token}").headers["Location"] == f"/{server.token}/"
    assert len(server.token) >= 32


def test_it_listens_on_this_machine_alone_at_a_port_that_is_free(serving, data: Path):
    server = serving(data)
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConfigError, match=r"--port \d+ is taken — name another"):
        Server([], server.server_address[1])


def test_files_that_grow_shrink_are_replaced_or_vanish(serving, data: Path):
    server = serving(data)
    url = f"file/0/{data.name}"
    before = ask(server, url).headers["ETag"]
    with data.open("ab") as file:
        file.write(b"more")
    assert ask(server, url, Range="bytes=10240-").body == b"more"
    data.with_name("new").write_bytes(b"another")
    os.replace(data.with_name("new"), data)
    replaced = ask(server, url)
    assert replaced.body == b"another"
    assert replaced.headers["ETag"] != before
    data.unlink()
    gone = ask(server, url)
    assert gone.status == 410
    assert b"trajectory.h5 cannot be read any more" in gone.body


def test_a_file_that_shrinks_amid_an_answer_ends_the_connection(serving, tmp_path: Path):
    path = tmp_path / "big.h5"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    server = serving(path)
    with socket.create_connection(server.server_address, timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        client.sendall(f"GET /{server.token}/file/0/big.h5 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = len(client.recv(1000))
        os.truncate(path, 1 << 20)
        while some := client.recv(1 << 20):
            received += len(some)
    assert received < 64 << 20


def test_browsers_that_hang_up_or_send_nonsense_disturb_nobody(serving, tmp_path: Path, capsys):
    path = tmp_path / "big.h5"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    server = serving(path)
    request = f"GET /{server.token}/file/0/big.h5 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for sent in (request, request[:20], b"\0\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"x" * 100_000 + b"\r\n"):
        for _ in range(3):
            client = socket.create_connection(server.server_address, timeout=20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
            client.sendall(sent)
            client.close()
    with ThreadPoolExecutor(40) as pool:
        ranges = [f"bytes={start}-{start + 99}" for start in range(0, 40_000, 100)]
        answers = list(pool.map(lambda part: ask(server, "file/0/big.h5", Range=part), ranges))
    assert all(answer.status == 206 and answer.body == bytes(100) for answer in answers)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_page_that_was_not_built_is_said_in_one_line(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(pages, "BUILT", tmp_path / "missing.html")
    with pytest.raises(OutputError, match=r"the viewer's page, .*missing\.html, cannot be read: No such file"):
        Server([])
