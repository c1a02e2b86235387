"""Where the page's reader takes bytes from, what it costs, and what it refuses by name."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

SIZE = 2 << 30
"""Bytes of states of a large file."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of 2 GB, of which the disk holds little: descriptions first, as runs write it."""
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        file["config"] = "{}" * 2000
        for group in ("schedule", "samples"):
            for i in range(6):
                file[f"{group}/{i}"] = np.arange(64.0)
        states = [
            file.create_dataset(f"trajectory/{name}", (SIZE // (4 * 51 * 784 * 4), 51, 1, 28, 28), "f4")
            for name in "abcd"
        ]
        for i, data in enumerate(states):
            data[-1, -1] = np.full((1, 28, 28), i)
    return path


def test_two_gigabytes_are_opened_by_one_request_and_read_in_little_memory(reader: Any, large: Path) -> None:
    opened = reader.request("open", large)
    assert large.stat().st_size > 0.99 * SIZE
    assert opened["requests"] <= 2
    assert opened["received"] <= 1 << 17
    assert opened["seconds"] < 2  # 0.01 on a machine that does nothing else
    column = reader.request("read", large, dataset="trajectory/d", start=[0, 50, 0, 0, 0], count=[64, 1, 1, 28, 28])
    assert column["length"] == 64 * 784
    assert column["requests"] <= 64
    last = reader.request(
        "read", large, dataset="trajectory/d", start=[SIZE // (4 * 51 * 784 * 4) - 1, 50, 0, 3, 7], count=[1] * 5
    )
    assert last["memory"] < 400e6
    whole = reader.request("read", large, dataset="trajectory/d")
    assert "are more than the 67108864 that are read" in whole["problem"]


class Server(ThreadingHTTPServer):
    """A server of one file, whose answers a test can spoil."""

    content = b""
    ranges = True
    tag = '"1"'
    shows_range = True
    requests = 0


class Handler(BaseHTTPRequestHandler):
    """Answers like those of a web server."""

    server: Server

    def do_HEAD(self) -> None:
        """The length alone."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()

    def do_GET(self) -> None:
        """A range of the file, the whole of it, or why not."""
        server, content = self.server, self.server.content
        server.requests += 1
        first, last = (int(number) for number in self.headers["Range"].removeprefix("bytes=").split("-"))
        if self.path != "/token/a%20run.h5":
            self.send_error(404)
            return
        if server.ranges and first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        part = content[first : last + 1] if server.ranges else content
        self.send_response(206 if server.ranges else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", server.tag)
        if server.ranges and server.shows_range:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(make_file: Callable[..., Path]) -> Iterator[Server]:
    """A server of a run's file."""
    server = Server(("127.0.0.1", 0), Handler)
    server.content = make_file("float32").read_bytes()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server: Server) -> str:
    """The address of its file."""
    return f"http://127.0.0.1:{server.server_port}/token/a%20run.h5"


def read_all(reader: Any, file: str) -> dict[str, Any]:
    """What the states of a file are."""
    return dict(reader.request("read", file, dataset="trajectory/x"))


@pytest.mark.parametrize("shows_range", [True, False])
def test_a_file_at_an_address_is_read_in_ranges(reader: Any, server: Server, shows_range: bool) -> None:
    server.shows_range = shows_range  # another origin's page does not see it
    opened = reader.request("open", url(server))
    assert (opened["requests"], server.requests) == (1, 1)
    found = read_all(reader, url(server))
    assert (found["length"], found["requests"]) == (12 * 11 * 256, 1)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ({"ranges": False}, "a run.h5: the server sends only the whole of it and no ranges — download it"),
        ({"content": b""}, "a run.h5: it is no HDF5 file, or is truncated: it is empty"),
        ({"content": b"<html>" * 100}, "a run.h5: it is no HDF5 file"),
        ({"content": b"\x89HDF\r\n\x1a\n"}, "a run.h5: it is damaged: its superblock ends too early"),
    ],
)
def test_a_server_that_does_not_do_is_named(reader: Any, server: Server, spoil: dict[str, Any], complaint: str) -> None:
    vars(server).update(spoil)
    assert reader.request("open", url(server))["problem"].startswith(complaint)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ({"tag": '"2"'}, "it has changed on the server while it was open — reload the page"),
        ({"content": b"\x89HDF" * 30000}, "it has changed on the server while it was open — reload the page"),
        ({"content": b"\x89HDF" * 1000}, "it has become shorter on the server — reload the page"),
        ({"ranges": False}, "the server sends only the whole of it and no ranges"),
    ],
)
def test_a_file_that_changes_on_the_server_is_named(
    reader: Any, server: Server, spoil: dict[str, Any], complaint: str
) -> None:
    reader.request("open", url(server))
    vars(server).update(spoil)
    assert complaint in read_all(reader, url(server))["problem"]


def test_nothing_at_an_address_is_named(reader: Any, server: Server) -> None:
    problem = reader.request("open", url(server).replace("token", "other"))["problem"]
    assert problem == "a run.h5: the server answers 404 Not Found"
    problem = reader.request("open", "http://127.0.0.1:9/x.h5")["problem"]
    assert problem.startswith("x.h5: it cannot be read: nothing answers at its address")


def test_what_changes_under_a_reader_is_read_fresh(reader: Any, make_file: Callable[..., Path], server: Server) -> None:
    content = bytearray(server.content)
    reader.request("open", url(server))
    before = reader.request("read", url(server), dataset="samples/steps_done")
    with h5py.File(make_file("float32")) as file:
        place = file["samples/steps_done"].id.get_offset()
        states = file["samples/label"].id.get_offset()
    content[place] ^= 1
    content[states] ^= 1
    server.content = bytes(content)

    def sha256(name: str, fresh: bool = False) -> str:
        return str(reader.request("read", url(server), dataset=f"samples/{name}", fresh=fresh)["sha256"])

    label = sha256("label")
    assert sha256("steps_done") == before["sha256"]
    assert sha256("steps_done", fresh=True) != before["sha256"]
    assert sha256("label") != label  # what was kept is forgotten


def test_what_cannot_be_read_is_refused_by_name(reader: Any, make_file: Callable[..., Path], tmp_path: Path) -> None:
    index = reader.request("open", make_file("index"))
    assert "problem" not in index["tree"]["samples/id"]
    assert index["tree"]["trajectory/x"]["problem"].endswith(
        'trajectory/x keeps its data in other files — open it with "emnist-diff view", which serves it joined'
    )
    blosc = reader.request("open", make_file("blosc"))
    assert (
        "trajectory/x is packed with blosc, which is not unpacked here — open it with"
        in blosc["tree"]["trajectory/x"]["problem"]
    )
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("lzf", data=np.arange(10), compression="lzf")
        file["compound"] = np.zeros(3, np.dtype([("a", "i4"), ("b", "f4")]))
        file.create_dataset("outside", (4,), "f4", external=[("other.raw", 0, 16)])
        file.create_dataset("list", (2,), h5py.vlen_dtype(np.int32))
        file["soft"] = h5py.SoftLink("/lzf")
        file["other"] = h5py.ExternalLink("a.h5", "/x")
        file["type"] = np.dtype("f4")
        file["loop/loop"] = file["/"]
    assert (
        reader.request("open", path)["problem"]
        == "odd.h5: it is damaged: loop/loop is a group that has another name, too"
    )
    with h5py.File(path, "a") as file:
        del file["loop/loop"]
    tree = reader.request("open", path)["tree"]
    assert set(tree) == {"", "lzf", "compound", "outside", "list", "type", "loop"}
    for name, words in {
        "lzf": "is packed with lzf, which is not unpacked here",
        "compound": "has values of the compound type, which is not read",
        "outside": "keeps its data in another file, which is not followed",
        "list": "has values of the list type, which is not read",
        "type": "is neither a group nor a dataset",
    }.items():
        assert tree[name]["problem"].startswith(f"odd.h5: {name} {words}"), tree[name]


def test_the_benchmark_runs(reader: Any, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "viewer.py"
    words = ("--megabytes", "1", "--rounds", "1", "--json", str(tmp_path / "found.json"))
    subprocess.run([sys.executable, str(script), *words], check=True, capture_output=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["this"]) == {"load", "open", "first", "further"}
    assert found["requests"] <= 2
    assert found["bytes"]["reader"] < 120_000
