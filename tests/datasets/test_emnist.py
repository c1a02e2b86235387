"""EMNIST's six splits, however their files are named, packed and placed."""

from __future__ import annotations

import gzip
import hashlib
import json
import string
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
from scipy.io import savemat

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets import _archives
from emnist_diff_plugins.datasets.emnist import Emnist, read_mapping

SIZES = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}
NAMES = {  # spelled out, so that the table under test is not its own proof
    "byclass": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "bymerge": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt",
    "balanced": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt",
    "letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "digits": "0123456789",
    "mnist": "0123456789",
}


def an_l(height: int = 5, width: int = 5) -> np.ndarray:
    """An upright L: a bar down on the left, one across at the bottom."""
    image = np.zeros((height, width), np.uint8)
    image[:, 0], image[-1, :] = 200, 100
    return image


def mapping_lines(split: str) -> str:
    """The mapping file as NIST ships it: letters count from 1 and have both cases."""
    if split == "letters":
        return "".join(f"{i} {ord(c)} {ord(c.lower())}\n" for i, c in enumerate(NAMES[split], 1))
    return "".join(f"{i} {ord(c)}\n" for i, c in enumerate(NAMES[split]))


@attrs.frozen
class Files:
    """Writes one part of a split: an image a class, an L whose top right pixel is the class, stored transposed."""

    folder: Path
    write_idx: Callable[..., Path]

    def __call__(
        self, split: str = "digits", part: str = "train", prefix: str = "emnist-", gz: bool = True, within: str = ""
    ) -> Path:
        first = 1 if split == "letters" else 0
        upright = np.stack([an_l() for _ in range(SIZES[split])])
        upright[:, 0, -1] = np.arange(SIZES[split])
        start = self.folder / within / f"{prefix}{split}-{part}"
        end = ".gz" if gz else ""
        self.write_idx(start.with_name(f"{start.name}-images-idx3-ubyte{end}"), upright.transpose(0, 2, 1))
        labels = np.arange(SIZES[split]) + first
        return self.write_idx(start.with_name(f"{start.name}-labels-idx1-ubyte{end}"), labels)


@pytest.fixture
def files(tmp_path: Path, write_idx: Callable[..., Path]) -> Files:
    return Files(tmp_path, write_idx)


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("gz", [False, True])
def test_every_split(files, split, mapped, gz):
    files(split, gz=gz)
    if mapped:
        (files.folder / f"emnist-{split}-mapping.txt").write_text(mapping_lines(split))
    loaded = Emnist(str(files.folder), split).load()
    assert loaded.classes == tuple(NAMES[split])
    assert loaded.labels.dtype == np.int64
    assert loaded.labels.tolist() == list(range(SIZES[split]))
    assert loaded.images.shape == (SIZES[split], 1, 5, 5)
    assert loaded.images.flags.c_contiguous
    assert loaded.images[:, 0, 0, -1].tolist() == loaded.labels.tolist()
    for image in loaded.images[:, 0]:
        assert (image[:-1, 0] == 200).all()  # the bar down is on the left
        assert (image[-1, 1:] == 100).all()  # the bar across is at the bottom


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize("mapped", [False, True])
def test_merged_letters(files, split, mapped):
    files(split)
    if mapped:
        (files.folder / f"emnist-{split}-mapping.txt").write_text(mapping_lines(split))
    lower = {"bymerge": "cijklmopsuvwxyz", "balanced": "cijklmopsuvwxyz", "letters": string.ascii_lowercase}
    assert Emnist(str(files.folder), split).load().merged == {c: c.upper() for c in lower.get(split, "")}


def test_height_and_width_change_places(tmp_path, write_idx):
    upright = np.stack([an_l(7, 4)])
    write_idx(tmp_path / "x-digits-test-images-idx3-ubyte.gz", upright.transpose(0, 2, 1))
    write_idx(tmp_path / "x-digits-test-labels-idx1-ubyte.gz", np.array([3]))
    np.testing.assert_array_equal(Emnist(str(tmp_path), "digits", "test").load().images[0], upright)


@pytest.mark.parametrize("prefix", ["emnist-", "handwritten-", "my-own-", ""])
@pytest.mark.parametrize("within", ["", "gzip", "raw", "EMNIST/raw"])
def test_any_prefix_in_the_folders_of_the_archives(files, prefix, within):
    files(prefix=prefix, within=within)
    (files.folder / within / f"{prefix}digits-mapping.txt").write_text(mapping_lines("digits"))
    loaded = Emnist(str(files.folder), "digits").load()
    assert len(loaded.images) == 10
    assert f"{prefix}digits-mapping.txt" in loaded.provenance["files"]


def test_splits_and_parts_stand_side_by_side(files):
    for split in SIZES:
        for part in ("train", "test"):
            files(split, part)
    for split, count in SIZES.items():
        for part in ("train", "test"):
            loaded = Emnist(str(files.folder), split, part).load()
            assert len(loaded.images) == count
            assert {name.split("-")[2] for name in loaded.provenance["files"]} == {part}


def test_provenance_tells_the_files_and_not_whose_disk(files):
    files(within="gzip")
    (files.folder / "emnist-digits-mapping.txt").write_text(mapping_lines("digits"))
    told = Emnist(str(files.folder), "digits").load().provenance
    names = ["gzip/emnist-digits-train-images-idx3-ubyte.gz", "gzip/emnist-digits-train-labels-idx1-ubyte.gz",
             "emnist-digits-mapping.txt"]  # fmt: skip
    assert json.loads(json.dumps(told)) == {
        "reader": "emnist",
        "split": "digits",
        "part": "train",
        "images": 10,
        "files": {Path(n).name: hashlib.sha256((files.folder / n).read_bytes()).hexdigest() for n in names},
    }


def test_class_names_come_from_the_mapping(files):
    files("letters")
    lines = "".join(f"{i + 1} {code} {code + 32}\r\n" for i, code in reversed(list(enumerate(range(65, 91)))))
    mapping = files.folder / "emnist-letters-mapping.txt"
    mapping.write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n")  # backwards, and saved on another system
    assert Emnist(str(files.folder), "letters").load().classes == tuple(string.ascii_uppercase)
    mapping.write_text("".join(f"{i} {0x3B1 + i}\n" for i in range(27)))  # Greek, counted from 0
    loaded = Emnist(str(files.folder), "letters").load()
    assert loaded.classes[1] == "β"
    assert loaded.labels.tolist() == list(range(1, 27))


def test_the_mapping_of_the_images_own_prefix_is_taken(files):
    files(prefix="emnist-")
    (files.folder / "emnist-digits-mapping.txt").write_text(mapping_lines("digits"))
    (files.folder / "other-digits-mapping.txt").write_text("nonsense")
    assert Emnist(str(files.folder), "digits").load().classes == tuple(string.digits)
    (files.folder / "emnist-digits-mapping.txt").unlink()
    with pytest.raises(DatasetError, match=r"other-digits-mapping.txt, line 1"):
        Emnist(str(files.folder), "digits").load()  # the only one there counts, whatever its prefix


def refusal(files: Files, split: str = "digits", part: str = "train") -> str:
    with pytest.raises(DatasetError) as e:
        Emnist(str(files.folder), split, part).load()  # type: ignore[arg-type]
    assert "\n" not in str(e.value)
    return str(e.value)


def test_several_candidates_are_all_named(files):
    files(prefix="emnist-")
    files(prefix="handwritten-")
    said = refusal(files)
    assert "emnist-digits-train-images" in said
    assert "handwritten-digits-train-images" in said
    assert "keep one" in said


def test_the_same_file_in_two_folders_is_ambiguous(files):
    files()
    files(within="gzip")
    assert "emnist-digits-train-images-idx3-ubyte.gz, gzip/emnist-digits-train-images" in refusal(files)


def test_an_unpacked_file_is_taken_before_its_gzip(files):
    files(gz=False)
    path = files.folder / "emnist-digits-train-images-idx3-ubyte.gz"
    path.write_bytes(b"half downloaded")
    assert len(Emnist(str(files.folder), "digits").load().images) == 10


def test_hidden_files_are_passed_over(files):
    files()
    for path in list(files.folder.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"metadata of another system")
    assert len(Emnist(str(files.folder), "digits").load().images) == 10


def test_what_is_missing_is_named_beside_what_is_there(files):
    assert (
        "…digits-train-images-idx3-ubyte[.gz] and no …digits.mat, also not in an archive — no files are there"
        in refusal(files)
    )
    (files.folder / "notes.txt").write_text("")
    assert "files there: notes.txt" in refusal(files)
    files("balanced", "test", prefix="")
    files("letters", "train")
    files("letters", "test", within="gzip")
    assert refusal(files).endswith("splits there: balanced (test), letters (test, train)")
    assert "splits there: balanced (test)" in refusal(files, "balanced")
    files("digits").unlink()
    assert "no emnist-digits-train-labels-idx1-ubyte[.gz] beside emnist-digits-train-images" in refusal(files)
    with pytest.raises(DatasetError, match="nowhere' is no directory"):
        Emnist(str(files.folder / "nowhere")).load()


def test_labels_of_another_prefix_are_not_mixed_in(files):
    files(prefix="one-").unlink()
    files(prefix="two-")
    (files.folder / "two-digits-train-images-idx3-ubyte.gz").unlink()
    assert "no one-digits-train-labels" in refusal(files)


@pytest.mark.parametrize(("split", "label", "range_"), [
    ("digits", 10, "0 … 9"), ("letters", 0, "1 … 26"), ("letters", 27, "1 … 26"), ("balanced", 47, "0 … 46"),
    ("byclass", 255, "0 … 61"),
])  # fmt: skip
def test_labels_beyond_the_table(files, write_idx, split, label, range_):
    path = files(split)
    labels = np.ones(SIZES[split])
    labels[3] = label
    write_idx(path, labels)
    said = refusal(files, split)
    assert path.name in said
    assert f"split '{split}' has {range_}" in said
    (files.folder / f"emnist-{split}-mapping.txt").write_text(mapping_lines(split))
    assert f"emnist-{split}-mapping.txt has {range_}" in refusal(files, split)


def test_as_many_labels_as_images(files, write_idx):
    path = files()
    write_idx(path, np.zeros(9))
    assert "holds 10 images, but emnist-digits-train-labels-idx1-ubyte.gz 9 labels" in refusal(files)


def test_damaged_files_are_named(files):
    path = files()
    path.write_bytes(gzip.compress(b"\0\0\x08\x01")[:-2])
    assert path.name in refusal(files)


@pytest.mark.parametrize(("text", "said"), [
    ("0 48\n1\n", "line 2: expected a label and one or two codes of characters, as '0 48', got '1'"),
    ("0 48\n\none 49\n", "line 3: expected"),
    ("0 A\n", "line 1: expected"),
    ("-1 48\n", "line 1: expected"),
    ("0 48 79 111\n", "line 1: expected"),
    ("0 48\n1 1114112\n", "line 2: expected"),
    ("0 48\n1 10\n", "line 2: expected"),
    ("0 55296\n", "line 1: expected"),
    ("0 99999999999999999999\n", "line 1: expected"),
    ("0 48\n0 49\n", "line 2: label 0 or its character '1' was on a line before"),
    ("0 48\n1 48\n", "line 2: label 1 or its character '0' was on a line before"),
    ("0 48\n2 50\n", "label 1 is missing between 0 and 2"),
    ("\n \n", "is empty"),
])  # fmt: skip
def test_malformed_mappings_name_the_line(tmp_path, text, said):
    path = tmp_path / "emnist-digits-mapping.txt"
    path.write_text(text)
    with pytest.raises(DatasetError) as e:
        read_mapping(path)
    assert said in str(e.value)
    assert str(path) in str(e.value)


def test_a_mapping_that_is_no_text(tmp_path):
    (tmp_path / "mapping.txt").write_bytes(b"\xff\xfe0 48\n")
    with pytest.raises(DatasetError, match=r"cannot read .*mapping.txt: it is not text"):
        read_mapping(tmp_path / "mapping.txt")


def zipped(archive: Path, folder: Path, within: str) -> Path:
    """Packs a folder's files as NIST's archives are packed, beside what macOS adds, and removes them."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.glob("emnist-*")):
            file.write(path, f"{within}/{path.name}")
            file.writestr(f"__MACOSX/{within}/._{path.name}", b"metadata of another system")
            path.unlink()
    return archive


def write_mat(folder: Path, split: str) -> Path:
    """Both parts of a split as NIST's MATLAB files hold them: an L of 28×28 a class, whose top right pixel is the class
    and whose second row tells the test part."""
    first = 1 if split == "letters" else 0
    parts = {}
    for part in ("train", "test"):
        upright = np.stack([an_l(28, 28) for _ in range(SIZES[split])])
        upright[:, 0, -1] = np.arange(SIZES[split])
        upright[:, 1, 1] = part == "test"
        rows = upright.transpose(0, 2, 1).reshape(len(upright), -1)  # MATLAB counts down the columns
        labels = np.arange(SIZES[split], dtype=np.uint8)[:, None] + first
        parts[part] = {"images": np.asfortranarray(rows), "labels": labels, "writers": np.zeros_like(labels)}
    mapping = [[int(word) for word in line.split()] for line in mapping_lines(split).splitlines()]
    path = folder / f"emnist-{split}.mat"
    savemat(path, {"dataset": {**parts, "mapping": np.array(mapping, np.uint8)}}, do_compression=True)
    return path


def test_archives_as_they_are_downloaded(files, tmp_path):
    for part in ("train", "test"):
        files("digits", part)
    (files.folder / "emnist-digits-mapping.txt").write_text(mapping_lines("digits"))
    unpacked = Emnist(str(files.folder), "digits").load()
    archive = zipped(files.folder / "gzip.zip", files.folder, "gzip")
    for data in (files.folder, archive):
        loaded = Emnist(str(data), "digits").load()
        np.testing.assert_array_equal(loaded.images, unpacked.images)
        assert loaded.labels.tolist() == unpacked.labels.tolist()
        assert loaded.provenance == unpacked.provenance  # so that training resumes whichever is there
    assert "splits there: digits (test, train)" in refusal(files, "letters")
    files("digits").unlink()  # unpacked files count before archives, also where some are missing
    assert "no emnist-digits-train-labels-idx1-ubyte[.gz] beside emnist-digits-train-images" in refusal(files)


@pytest.mark.parametrize("split", ["balanced", "letters"])
@pytest.mark.parametrize("packed", [False, True])
def test_matlab_files(files, split, packed):
    write_mat(files.folder, split)
    if packed:
        zipped(files.folder / "matlab.zip", files.folder, "matlab")
    for part in ("train", "test"):
        loaded = Emnist(str(files.folder), split, part).load()
        assert loaded.classes == tuple(NAMES[split])
        assert loaded.labels.tolist() == loaded.images[:, 0, 0, -1].tolist() == list(range(SIZES[split]))
        assert (loaded.images[:, 0, :-1, 0] == 200).all()  # upright: the bar down is on the left
        assert (loaded.images[:, 0, -1, 1:] == 100).all()
        assert (loaded.images[:, 0, 1, 1] == (part == "test")).all()
        assert list(loaded.provenance["files"]) == [f"emnist-{split}.mat"]
    assert f"splits there: {split} (test, train)" in refusal(files, "digits")


def test_without_scipy_a_matlab_file_says_what_to_do(files, monkeypatch):
    write_mat(files.folder, "digits")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert "needs SciPy, which is not installed — pip install 'emnist-diff[mat]'" in refusal(files)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + bytes(200), b"PK\x03\x04" + bytes(50)])
@pytest.mark.parametrize("name", ["emnist-digits.mat", "gzip.zip"])
def test_damaged_downloads_are_named(files, name, content):
    (files.folder / name).write_bytes(content)
    assert name in refusal(files)


@pytest.mark.parametrize(("change", "said"), [
    ({"images": np.zeros((3, 783), np.uint8)}, "not uint8 rows of 784"),
    ({"images": np.zeros((3, 784))}, "not uint8 rows of 784"),
    ({"labels": np.zeros((2, 1), np.uint8)}, "3 train images, but 2 labels"),
    ({"labels": np.zeros((3, 1))}, "labels of type float64"),
])  # fmt: skip
def test_matlab_files_of_something_else(files, change, said):
    part = {"images": np.zeros((3, 784), np.uint8), "labels": np.zeros((3, 1), np.uint8), **change}
    savemat(files.folder / "emnist-digits.mat", {"dataset": {"train": part}})
    assert said in refusal(files)


def test_an_archive_whose_file_claims_too_much(files, monkeypatch):
    files("digits")
    zipped(files.folder / "gzip.zip", files.folder, "gzip")
    monkeypatch.setattr(_archives, "LARGEST", 10)
    assert "bytes, at most 10 are read" in refusal(files)


def test_a_copy_with_its_folder_and_tables(files):
    files("digits", within="emnist_source_files", gz=False)
    assert len(Emnist(str(files.folder), "digits").load().images) == 10
    (files.folder / "emnist-letters-train.csv").write_text("")
    assert refusal(files, "letters").endswith("splits there: digits (train)")
    for path in (files.folder / "emnist_source_files").iterdir():
        path.unlink()
    assert refusal(files).endswith("files there: emnist-letters-train.csv (CSV files are not read)")
