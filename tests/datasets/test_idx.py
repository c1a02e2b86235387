"""IDX files are read exactly, or refused in one line that names them; no header makes them use memory."""

from __future__ import annotations

import contextlib
import gzip
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets import idx

ARRAY = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)), st.booleans())
def test_reads_what_was_written(tmp_path_factory, idx_bytes, array, zipped):
    path = tmp_path_factory.mktemp("idx", numbered=True) / "any-name"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    np.testing.assert_array_equal(idx.read(path, array.ndim), array)


def wrong(whole: bytes) -> dict[str, tuple[bytes, str]]:
    """Contents that are no IDX file of three dimensions, and what is said of them."""
    return {
        "empty": (b"", "is empty"),
        "empty gzip": (gzip.compress(b""), "is empty"),
        "a web page": (b"<html>not found", "is no IDX file: it begins with 3c 68 74 6d"),
        "three bytes": (whole[:3], "is no IDX file: it begins with 00 00 08"),
        "floats": (b"\0\0\x0d" + whole[3:], "holds IDX type 0x0d, not uint8"),
        "labels": (b"\0\0\x08\x01" + whole[4:], "holds an IDX array of 1 dimensions, expected 3"),
        "half a header": (whole[:10], "is truncated in its header"),
        "no images": (whole[:4] + b"\0\0\0\0" + whole[8:], "holds no data: its header says 0 × 3 × 5"),
        "truncated": (whole[:-1], "is truncated: its header says 2 × 3 × 5 = 30 bytes"),
        "trailing": (whole + b"\0", "goes on after its data: its header says 2 × 3 × 5 = 30 bytes"),
        "truncated, gzipped": (gzip.compress(whole[:-1]), "is truncated"),
        "trailing, gzipped": (gzip.compress(whole + b"\0"), "goes on after its data"),
        "half a gzip": (gzip.compress(whole)[:-12], "before the end-of-stream marker"),
        "no checksum": (gzip.compress(whole)[:-8], "cannot read"),
        "bad checksum": (gzip.compress(whole)[:-8] + bytes(4) + gzip.compress(whole)[-4:], "CRC check failed"),
        "bad deflate": (gzip.compress(whole)[:10] + b"\xff" * 20, "cannot read"),
        "no gzip after its magic": (b"\x1f\x8b" + whole, "cannot read"),
        "a second file behind": (gzip.compress(whole) + gzip.compress(whole), "goes on after its data"),
        "junk behind": (gzip.compress(whole) + b"junk", "cannot read"),
    }


@pytest.mark.parametrize("case", wrong(b"\0\0\x08\x03").keys())
def test_wrong_files_are_refused_in_one_line(case, tmp_path, idx_bytes):
    data, said = wrong(idx_bytes(ARRAY))[case]
    path = tmp_path / "foreign-file"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=said) as e:
        idx.read(path, 3)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("zipped", [False, True])
def test_every_truncation_and_every_damaged_byte_is_found_or_harmless(zipped, tmp_path, idx_bytes):
    whole = gzip.compress(idx_bytes(ARRAY)) if zipped else idx_bytes(ARRAY)
    path = tmp_path / "damaged"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DatasetError, match="damaged"):
            idx.read(path, 3)
    accepted = {}
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(DatasetError):  # anything else would fail here
            accepted[place] = idx.read(path, 3)
    if zipped:  # of gzip's own header some bytes say nothing about the data
        assert set(accepted) == set(range(4, 10))
        assert all(np.array_equal(read, ARRAY) for read in accepted.values())
    else:  # pixels have no checksum
        assert set(accepted) == set(range(16, len(whole)))


def peak(read: Callable[[], object]) -> int:
    """Bytes allocated at most while a read fails."""
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_claims_too_much_costs_nothing(zipped, tmp_path):
    data = b"\0\0\x08\x03" + b"\xff" * 12 + bytes(1 << 20)
    path = tmp_path / "boasting"
    path.write_bytes(gzip.compress(data) if zipped else data)
    assert peak(lambda: idx.read(path, 3)) < 1 << 20
    with pytest.raises(DatasetError, match="boasting is truncated"):
        idx.read(path, 3)


def test_zeros_that_are_what_the_header_says_are_a_bomb_too(tmp_path, idx_bytes):
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros((100, 1000, 1000), np.uint8)), 9))
    assert peak(lambda: idx.read(path, 3)) < 1 << 20
    with pytest.raises(DatasetError, match=r"claims 100 × 1000 × 1000 = 100000000 bytes, and has \d+: no images are"):
        idx.read(path, 3)


def test_a_gzip_bomb_is_not_unpacked(tmp_path, idx_bytes):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(idx_bytes(ARRAY) + bytes(64 << 20)))
    assert peak(lambda: idx.read(path, 3)) < 1 << 20
    with pytest.raises(DatasetError, match="bomb goes on after its data"):
        idx.read(path, 3)


def test_data_that_compresses_as_well_as_data_can_is_read(tmp_path, idx_bytes):
    zeros = np.zeros((40, 500, 500), np.uint8)
    path = tmp_path / "zeros"
    path.write_bytes(gzip.compress(idx_bytes(zeros)))
    assert path.stat().st_size * 1000 < zeros.size  # close to what deflate can do at most
    assert idx.read(path, 3).shape == zeros.shape


def test_what_cannot_be_opened_is_named(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(DatasetError, match=f"cannot read {re.escape(str(path))}: "):
            idx.read(path, 3)


def test_images_and_labels_must_be_equally_many(tmp_path: Path, write_idx):
    images, labels = write_idx(tmp_path / "images", ARRAY), write_idx(tmp_path / "labels", np.zeros(3))
    with pytest.raises(DatasetError, match="images holds 2 images, but labels 3 labels"):
        idx.read_labelled(images, labels)
