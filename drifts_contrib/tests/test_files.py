"""Files that a user names: what they mean, and one line for each mistake."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from emnist_diff.errors import ConfigError
from emnist_diff.structuring import structure, unstructure

from emnist_diff_drifts_contrib._images import Image
from emnist_diff_drifts_contrib._masks import REGIONS, Mask
from emnist_diff_drifts_contrib.data_consistency import DataConsistency
from emnist_diff_drifts_contrib.freeze_mask import FreezeMask
from emnist_diff_drifts_contrib.inpaint import Inpaint
from emnist_diff_drifts_contrib.low_pass import LowPass
from emnist_diff_drifts_contrib.sdedit import SdEdit

GRAY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
COLOUR = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=2)


def test_a_picture_stands_for_minus_1_to_1(save):
    found = Image.read(save("gray.png", GRAY))
    np.testing.assert_allclose(found.shaped((1, 4, 5))[0], GRAY / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(found.shaped((3, 4, 5)), np.stack([GRAY / 127.5 - 1] * 3), atol=1e-6)


def test_colours_go_where_there_are_channels_for_them(save):
    found = Image.read(save("colour.png", COLOUR))
    np.testing.assert_allclose(found.shaped((3, 4, 5)), COLOUR.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(found.shaped((1, 4, 5))[0], luma / 127.5 - 1, atol=1e-5)


def test_an_array_is_a_state_as_it_stands(save):
    values = np.random.default_rng(0).normal(size=(2, 3))
    assert np.array_equal(Image.read(save("state.npy", values)).shaped((2, 3)), values.astype(np.float32))


@pytest.mark.parametrize("name", ["example:letter.png", "example:strokes.png"])
def test_the_examples_are_images_of_the_shipped_checkpoint(name):
    values = Image.read(name).shaped((1, 28, 28))
    assert values.min() < -0.9
    assert values.max() > 0.9


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_has_no_file(region):
    mask = Mask.read(region).shaped((2, 8, 12))
    assert mask.shape == (2, 8, 12)
    share = {"centre": 0.25, "border": 0.75}.get(region, 0.5)
    assert mask.mean() == share
    row, column = {
        "left": (0, 0),
        "right": (0, 11),
        "top": (0, 0),
        "bottom": (7, 0),
        "centre": (4, 6),
        "border": (0, 0),
    }[region]
    assert mask[0, row, column] == 1
    assert mask[1, 7 - row, 11 - column] == (region in ("centre", "border"))


def test_halves_of_a_vector():
    assert Mask.read("left").shaped((4,)).tolist() == [1, 1, 0, 0]
    with pytest.raises(ConfigError, match=r"'top'.*no height"):
        Mask.read("top").shaped((4,))


def test_a_mask_from_a_file_is_the_same_along_the_first_axes(save):
    mask = Mask.read(save("mask.png", np.array([[0, 255], [255, 51]], np.uint8)))
    np.testing.assert_allclose(mask.shaped((3, 2, 2)), [[[0, 1], [1, 0.2]]] * 3)
    array = Mask.read(save("mask.npy", np.array([[0, 1], [1, 0]])))
    assert array.shaped((2, 2)).tolist() == [[0, 1], [1, 0]]


def bad(folder: Path) -> dict[str, str]:
    """Files that hold no image, by what is wrong with them."""
    (folder / "text.png").write_text("no picture")
    (folder / "text.npy").write_text("no array")
    (folder / "empty.npy").touch()
    np.save(folder / "bytes.npy", np.zeros((2, 2), np.uint8))
    np.save(folder / "large.npy", np.full((2, 2), 255.0))
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "complex.npy", np.zeros(2, complex))
    np.save(folder / "nan.npy", np.array([np.nan]))
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text.png", "is no image that can be read (PNG, JPEG, BMP, or an array in .npy)"),
        ("text.npy", "holds no NumPy array that can be read"),
        ("empty.npy", "holds no NumPy array that can be read"),
        ("bytes.npy", "holds uint8 up to 0, which are no values of a state"),
        ("large.npy", "up to 255, which are no values of a state"),
        ("words.npy", "holds no array of real numbers"),
        ("objects.npy", "holds no NumPy array that can be read: Object arrays cannot be loaded"),
        ("complex.npy", "holds no array of real numbers"),
        ("nan.npy", "holds values that are not finite"),
        ("gone.png", "No such file or directory"),
    ],
)
def test_what_is_no_image_is_said_when_the_drift_is_made(tmp_path, name, said):
    path = bad(tmp_path).get(name, str(tmp_path / name))
    for make in (SdEdit, LowPass, lambda file: Inpaint(file, "left"), lambda file: DataConsistency(measurement=file)):
        with pytest.raises(ConfigError) as caught:
            make(path)
        assert said in str(caught.value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_pickle_in_an_array_is_not_executed(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    np.save(tmp_path / "odd.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Payload()))
    for name in ("odd.npy", "plain.npy"):
        with pytest.raises(ConfigError, match="holds no NumPy array"):
            SdEdit(str(tmp_path / name))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["example:nothing.png", "example:../_files.py", "example:"])
def test_examples_are_those_that_there_are(name):
    with pytest.raises(ConfigError, match=r"known: example:letter\.png, example:strokes\.png"):
        SdEdit(name)


def test_a_mask_out_of_range(save):
    with pytest.raises(ConfigError, match=r"holds values from 0 to 255 — a mask is 0 … 1"):
        FreezeMask(mask=save("mask.npy", np.array([0, 255])))


def test_shapes_are_said_before_a_run(save):
    picture, state = save("gray.png", GRAY), save("state.npy", np.zeros((4, 5)))
    for drift, shape, said in [
        (SdEdit(picture), (1, 5, 4), "is 5 × 4 pixels, and a state is 4 × 5 — resize it"),
        (SdEdit(picture), (16,), "is a picture, and states of shape (16,) are none"),
        (SdEdit(state), (1, 4, 5), "has shape (4, 5), and a state has (1, 4, 5)"),
        (Inpaint(picture, picture), (1, 5, 4), "pixels"),
        (FreezeMask(picture), (3, 4), "mask"),
        (LowPass(picture, factor=2), (1, 4, 5), "factor = 2 does not divide"),
    ]:
        with pytest.raises(ConfigError) as caught:
            drift.require_shape(shape)
        assert said in str(caught.value)


def test_the_content_is_recorded_and_held_against_the_file(save):
    path = save("gray.png", GRAY)
    made = Inpaint(path, "left")
    data = unstructure(made)
    assert data["image_sha256"] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert data["mask_sha256"] == ""
    assert structure(data, Inpaint, "drift") == made
    save("gray.png", GRAY + 1)
    with pytest.raises(ConfigError, match=r"image = .*gray\.png.* is not the file that was recorded"):
        structure(data, Inpaint, "drift")


def test_a_file_is_read_once_and_travels_with_the_drift(save):
    path = save("gray.png", GRAY)
    made = SdEdit(path)
    os.remove(path)
    there = pickle.loads(pickle.dumps(made))
    there.require_shape((1, 4, 5))
    assert attrs.asdict(there, filter=lambda a, v: a.init) == attrs.asdict(made, filter=lambda a, v: a.init)


def run(cli, *words):
    """A short run on an exact mixture."""
    return cli(
        *("run", "--denoiser", "gaussian-mixture:shape=[1,8,8],classes=ABC", "--steps", "4", "--total-videos", "2"),
        *("--sink", "hdf5", *words),
    )


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        ("inpaint:image=gone.png,mask=left", "gone.png"),
        ("inpaint:image=example:letter.png,mask=left", "28 × 28 pixels"),
        ("inpaint:mask=left", "image"),
        ("low_pass:reference=state.npy,factor=3", "factor = 3 does not divide"),
        ("data_consistency:operator=down", "name an image to be measured, or a measurement"),
        ("data_consistency:operator=mask,image=state.npy", "operator mask needs mask"),
        ("data_consistency:operator=matrix,image=state.npy,matrix=state.npy", "a matrix has two axes"),
        ("data_consistency:operator=down,measurement=state.npy", "(1, 8, 8), and a state has (1, 2, 2)"),
        ("symmetry:group=d5", "d5"),
        ("langevin:r=0", "r"),
    ],
)
def test_a_users_mistake_is_one_line_before_any_work(cli, tmp_path, monkeypatch, drift, said):
    monkeypatch.chdir(tmp_path)
    np.save("state.npy", np.zeros((1, 8, 8), np.float32))
    finished = run(cli, "--drift", drift)
    assert finished.code == 2
    assert said in finished.error
    assert not (tmp_path / "output").exists()


def test_a_run_with_files_is_replayed_and_noticed_when_they_change(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("state.npy", np.full((1, 8, 8), 0.5, np.float32))
    finished = run(cli, "--drift", "inpaint:image=state.npy,mask=left")
    assert finished.code == 0, finished.err
    assert cli("replay", "output/A/trajectory.h5").code == 0
    np.save("state.npy", np.zeros((1, 8, 8), np.float32))
    finished = cli("replay", "output/A/trajectory.h5")
    assert finished.code == 2
    assert "is not the file that was recorded" in finished.err


def test_no_public_module_is_missed():
    """What the package imports of emnist-diff has no private name."""
    import emnist_diff_drifts_contrib

    folder = Path(emnist_diff_drifts_contrib.__file__).parent
    for file in folder.glob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("from emnist_diff."):
                assert "._" not in line, (file.name, line)
                assert " _" not in line.partition(" import ")[2], (file.name, line)
    assert "emnist_diff_plugins" not in "".join(f.read_text(encoding="utf-8") for f in folder.glob("*.py"))
    assert sys.modules["emnist_diff_drifts_contrib"].__file__
