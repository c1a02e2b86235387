"""Names that no file can have, and files that are none, wherever a command takes a name: one line, no traceback."""

from __future__ import annotations

import pytest

LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("checkpoint", "inspect", LONG),
        ("checkpoint", "convert", f"{LONG}.pt"),
        ("run", "--checkpoint", LONG),
        ("run", "--config", f"{LONG}.toml"),
        ("train", "unet2d", "--data", LONG),
        ("metrics", LONG),
        ("plugins", "list", "--plugin-file", f"{LONG}.py"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_name_that_is_too_long(process, words):
    done = process(*words)
    lines = done.stderr.splitlines()
    assert done.returncode in (2, 3, 4, 5, 8), done.stderr
    assert len(lines) == 1, done.stderr
    assert "xxx" in lines[0]
    assert len(lines[0]) < 1000


def test_a_link_that_leads_in_circles(process, tmp_path):
    loop = tmp_path / "loop.h5"
    loop.symlink_to(loop)
    for words in (
        ("compare", loop, tmp_path / "other.h5"),
        ("inspect", loop),
        ("plugins", "list", "--plugin-file", loop),
    ):
        done = process(*words)
        assert done.returncode in (3, 5), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
