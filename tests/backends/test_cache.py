"""The cache of what backends compile: whole entries or none, whatever happens to its files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emnist_diff_plugins.backends._cache import Cache, key_of
from emnist_diff_plugins.containers.userfolder import VARIABLE, user_cache


def test_what_is_put_comes_back(tmp_path):
    cache = Cache(tmp_path / "new" / "folder")
    assert cache.get("a") is None
    for parts in ([b"description", b"\0weights" * 1000], [b"", b"x"], []):
        cache.put("a", parts)
        assert cache.get("a") == parts
    assert cache.get("b") is None


def test_every_damage_is_seen(tmp_path):
    cache = Cache(tmp_path)
    cache.put("a", [b"some", b"thing"])
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert cache.get("a") is None
        path.write_bytes(whole[:at])
        assert cache.get("a") is None
    path.write_bytes(whole + b"\0")
    assert cache.get("a") is None
    cache.put("a", [b"again"])
    assert cache.get("a") == [b"again"]


def test_a_place_that_cannot_be_used_is_no_cache(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    for folder in (file, file / "below"):
        cache = Cache(folder)
        cache.put("a", [b"some"])
        assert cache.get("a") is None
    (tmp_path / "a.cache").mkdir()  # where the entry would be
    cache = Cache(tmp_path)
    cache.put("a", [b"some"])
    assert cache.get("a") is None
    cache.put("b", [b"some"])
    assert cache.get("b") == [b"some"]


def test_the_least_recently_used_go_first(tmp_path):
    cache = Cache(tmp_path, limit=1000)
    for age, key in enumerate("abc"):
        cache.put(key, [b"." * 200])
        os.utime(tmp_path / f"{key}.cache", (age, age))
    assert cache.get("a")  # now it is the youngest
    cache.put("d", [b"." * 200])
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path):
    cache = Cache(tmp_path, limit=1000)
    cache.put("a", [b"small"])
    cache.put("b", [b"." * 1001])
    assert cache.get("a") == [b"small"]
    assert cache.get("b") is None


def test_what_dead_processes_left_is_cleared_away(tmp_path):
    stale, fresh = tmp_path / ".x.1.tmp", tmp_path / ".y.2.tmp"
    for path in (stale, fresh):
        path.write_bytes(b"half")
    os.utime(stale, (0, 0))
    Cache(tmp_path).put("a", [b"some"])
    assert not stale.exists()
    assert fresh.exists()


def test_two_processes_at_once(tmp_path):
    """Both write the same keys, with little room: a reader finds whole entries or none."""
    code = (
        "import sys; from pathlib import Path; from emnist_diff_plugins.backends._cache import Cache\n"
        "cache, found = Cache(Path(sys.argv[1]), limit=20_000), 0\n"
        "for i in range(150):\n"
        "    key = str(i % 5)\n"
        "    cache.put(key, [key.encode() * 5000])\n"
        "    entry = cache.get(key)\n"
        "    assert entry in (None, [key.encode() * 5000]), entry\n"
        "    found += entry is not None\n"
        "assert found"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert {path.suffix for path in tmp_path.iterdir()} == {".cache"}


def test_keys_tell_their_parts_apart():
    keys = {key_of("a", "bc"), key_of("ab", "c"), key_of("abc"), key_of("a", "b", "c"), key_of("a\0b", "c"), key_of()}
    assert len(keys) == 6


@pytest.mark.parametrize(
    ("environment", "platform", "below"),
    [
        ({}, "linux", "home/.cache/emnist-diff"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "home/.cache/emnist-diff"),
        ({}, "darwin", "home/Library/Caches/emnist-diff"),
        ({}, "win32", "home/AppData/Local/emnist-diff/cache"),
    ],
)
def test_where_it_is(tmp_path, monkeypatch, environment, platform, below):
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: tmp_path / "home"))
    assert user_cache(environment, platform) == tmp_path / below


def test_where_else_it_can_be(tmp_path, monkeypatch):
    assert user_cache({"XDG_CACHE_HOME": str(tmp_path)}, "linux") == tmp_path / "emnist-diff"
    assert user_cache({VARIABLE: str(tmp_path), "XDG_CACHE_HOME": "/other"}, "linux") == tmp_path
    assert user_cache({VARIABLE: ""}, "linux") is None

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert user_cache({}, "linux") is None
