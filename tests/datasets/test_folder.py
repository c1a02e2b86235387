"""Folders of images: what becomes of each kind of picture, in which order, and what is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emnist_diff.errors import ConfigError, DatasetError
from emnist_diff.structuring import structure
from emnist_diff_plugins.datasets.folder import Folder, read


def corner(size: int = 8) -> np.ndarray:
    """A picture whose top left quarter alone is white."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[: size // 2, : size // 2] = 255
    return pixels


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Saves pixels under a name within the folder."""

    def save(name: str, pixels: np.ndarray | Image.Image | None = None, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(corner() if pixels is None else pixels)
        image.save(path, **options)
        return path

    return save


def test_classes_and_files_in_order(tmp_path, put):
    for place, name in enumerate(["10", "9", "b2", "b10", "B1", "zoo", "09"]):
        for file in ("two.png", "one.bmp"):
            put(f"{name}/{file}", np.full((4, 4), 10 * place + len(file) % 2, np.uint8))
    loaded = Folder(str(tmp_path), size=4).load()
    assert loaded.classes == ("09", "9", "10", "B1", "b2", "b10", "zoo")
    assert loaded.labels.tolist() == [label for label in range(7) for _ in range(2)]
    assert loaded.images[:, 0, 0, 0].tolist() == [61, 61, 11, 11, 1, 1, 41, 41, 21, 21, 31, 31, 51, 51]
    assert loaded.merged == {}


def test_images_of_the_right_size_keep_their_pixels(tmp_path, put):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (28, 28, 3), np.uint8)
    put("a/gray.png", pixels)
    np.testing.assert_array_equal(Folder(str(tmp_path)).load().images[0, 0], pixels)
    put("a/gray.png", colours)
    np.testing.assert_array_equal(Folder(str(tmp_path), channels=3).load().images[0], colours.transpose(2, 0, 1))


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_formats(put, ending, channels):
    path = put(f"a/picture.{ending}", corner(16))
    pixels = read(path, 16, channels).astype(int)
    assert pixels.shape == (channels, 16, 16)
    assert np.abs(pixels - corner(16)).max() < 40  # lossy ones ring at the edge
    assert np.abs(pixels - corner(16)).mean() < 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "RGBA"])
def test_kinds_of_pixels(put, mode):
    path = put("a/picture.tif", Image.fromarray(corner(4)).convert(mode))
    for channels in (1, 3):
        np.testing.assert_array_equal(read(path, 4, channels), np.stack([corner(4)] * channels))


def test_sixteen_bits_become_eight_without_clipping(put):
    values = np.array([[0, 257, 256 * 128], [65535, 65534, 1000]], np.uint16)[:, [0, 1, 2]]
    values = np.concatenate([values, values[:1]])
    path = put("a/deep.png", Image.fromarray(values))
    np.testing.assert_array_equal(read(path, 3, 1)[0], values // 257)


def test_transparent_is_black(put):
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[:, :2, 3] = 0
    pixels[0, 2, 3] = 128
    rgba = read(put("a/rgba.png", pixels), 4, 1)[0]
    assert (rgba[:, :2] == 0).all()
    assert (rgba[1:, 2:] == 255).all()
    assert abs(int(rgba[0, 2]) - 128) <= 1
    palette = Image.fromarray(corner(4)).convert("P")
    palette.putpalette([255, 255, 255, 255, 0, 0] + [9] * 750)
    palette.paste(1, (0, 0, 2, 4))
    palette.paste(0, (2, 0, 4, 4))
    listed = read(put("a/listed.png", palette, transparency=0), 4, 3)
    assert (listed[:, :, 2:] == 0).all()
    assert (listed[0, :, :2] == 255).all()


def test_photographs_stand_upright(put):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a viewer rotates by 90° clockwise
    path = put("a/photo.png", corner(8), exif=exif)
    np.testing.assert_array_equal(read(path, 8, 1)[0], np.rot90(corner(8), -1))


def test_the_first_picture_of_an_animation(put):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (50, 200)]
    path = put("a/moving.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (read(path, 4, 1) == 50).all()


def test_shrinking_averages(put):
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = read(put("a/checks.png", checks), 8, 1).astype(int)
    assert np.abs(pixels - 127).max() <= 8  # not the value of one pixel in eight
    away = np.abs(read(put("a/big.png", corner(64)), 8, 1)[0].astype(int) - corner(8))
    assert away.max() <= 40  # where the edge is, bicubic resampling leaves some grey
    assert not np.delete(np.delete(away, [3, 4], 0), [3, 4], 1).any()


@pytest.mark.parametrize(("height", "width"), [(4, 8), (8, 4), (3, 8), (1, 40), (40, 1)])
def test_what_is_not_square_is_centred_on_its_border(put, height, width):
    pixels = np.full((height, width), 90, np.uint8)
    pixels[height // 2, width // 2] = 250 if min(height, width) > 2 else 90
    out = read(put("a/long.png", pixels), 8, 1)[0].astype(int)
    assert out.shape == (8, 8)
    assert (out[0] == 90).all()
    assert (out[:, 0] == 90).all()
    if min(height, width) > 2:
        row, column = np.unravel_index(out.argmax(), out.shape)
        assert 2 <= row <= 5
        assert 2 <= column <= 5
        assert out.max() == 250


def test_colours_of_the_border(put):
    pixels = np.zeros((2, 6, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    out = read(put("a/strip.png", pixels), 6, 3)
    assert (out == np.array([10, 20, 30])[:, None, None]).all()


def test_hidden_files_and_files_outside_classes_are_passed_over(tmp_path, put):
    put("a/one.png")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").write_text("how it was made")
    loaded = Folder(str(tmp_path)).load()
    assert loaded.classes == ("a",)
    assert len(loaded.images) == 1


def test_what_systems_leave_behind_is_passed_over(tmp_path, put):
    put("A/scan.png")
    before = Folder(str(tmp_path)).load()
    for name in ("Thumbs.db", "A/Thumbs.db", "A/.DS_Store", "A/desktop.ini", "A/@eaDir/scan.png", "A/Icon\r"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not an image")
    put("__MACOSX/A/scan.png")
    after = Folder(str(tmp_path)).load()
    assert after.classes == ("A",)
    assert after.provenance == before.provenance


def test_provenance_changes_with_content_name_and_class_only(tmp_path, put):
    def told() -> dict:
        return dict(Folder(str(tmp_path), size=8).load().provenance)

    one = put("a/one.png")
    put("b/two.png", corner(6))
    first = told()
    assert first | {"sha256": ""} == {
        "reader": "folder", "part": "train", "images": 2, "size": 8, "channels": 1, "sha256": "",
    }  # fmt: skip
    assert len(first["sha256"]) == 64
    one.touch()
    assert told() == first
    put("a/one.png", 255 - corner())
    assert told() != first
    put("a/one.png")
    assert told() == first
    one.rename(one.with_name("renamed.png"))
    assert told() != first


def test_train_and_test_folders_are_the_parts(tmp_path, put):
    for name in ("train/a/1.png", "train/a/2.png", "train/b/3.png", "train/c/4.png", "test/c/5.png", "test/b/6.png"):
        put(name)
    learnt, held = Folder(str(tmp_path)).load(), Folder(str(tmp_path), part="test").load()
    assert learnt.classes == held.classes == ("a", "b", "c")
    assert learnt.labels.tolist() == [0, 0, 1, 2]
    assert held.labels.tolist() == [1, 2]  # numbered as in training, though class a has no test images
    assert (learnt.provenance["part"], held.provenance["part"]) == ("train", "test")
    put("test/d/7.png")
    with pytest.raises(DatasetError, match=r"test.d is no class of .*train"):
        Folder(str(tmp_path), part="test").load()


def test_train_may_be_a_class(tmp_path, put):
    put("train/1.png")
    put("plane/2.png")
    assert Folder(str(tmp_path)).load().classes == ("plane", "train")
    with pytest.raises(DatasetError, match="has no test part"):
        Folder(str(tmp_path), part="test").load()


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(DatasetError) as e:
        Folder(str(folder), **settings).load()  # type: ignore[arg-type]
    assert "\n" not in str(e.value)
    return str(e.value)


def png(width: int, height: int, data: bytes) -> bytes:
    """A gray PNG that claims a size, whatever its data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("content", [
    b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n", b"GIF89a",
    b"\xff\xd8\xff", b"P5\n4 4\n255\nx", b"BM" + bytes(40), png(0, 4, b""),
])  # fmt: skip
def test_files_that_are_no_image(tmp_path, put, content):
    put("a/one.png")
    (tmp_path / "a" / "two.png").write_bytes(content)
    said = refusal(tmp_path)
    assert str(tmp_path / "a" / "two.png") in said
    assert "is no image that can be read (PNG, JPEG" in said
    assert "mend it or take it out" in said


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp", "bmp", "tif"])
def test_damaged_images_never_crash(put, ending):
    path = put(f"a/one.{ending}", np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    whole = path.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(0, len(whole), len(whole) // 40)]
    cut = [whole[:i] for i in range(0, len(whole), len(whole) // 20)]
    refusals = []
    for damaged in flipped + cut:
        path.write_bytes(damaged)
        try:
            assert read(path, 8, 1).shape == (1, 8, 8)  # some bytes are decoration, some just another pixel
        except DatasetError as error:
            refusals.append(str(error))
    assert len(refusals) >= 10
    assert all(str(path) in said and "\n" not in said for said in refusals)


@pytest.mark.parametrize("side", [10_000, 50_000])  # Pillow warns of the first and refuses the second
def test_decompression_bombs(tmp_path, put, side):
    put("a/one.png")
    (tmp_path / "a" / "bomb.png").write_bytes(png(side, side, bytes(100_000)))
    assert "bomb.png has more than 67108864 pixels" in refusal(tmp_path)


def test_large_pictures_are_converted_as_small_ones_are(put, monkeypatch):
    """Band by band, to the same bits."""
    values = np.random.default_rng(0).integers(0, 256, (37, 23, 4), np.uint8)
    path = put("a/one.png", values)
    whole = read(path, 16, 3)
    monkeypatch.setattr("emnist_diff_plugins.datasets.folder._BAND", 50)
    np.testing.assert_array_equal(read(path, 16, 3), whole)


def test_floats_have_no_range(tmp_path, put):
    put("a/float.tif", Image.fromarray(np.zeros((4, 4), np.float32)))
    assert "float.tif is no image that can be read" in refusal(tmp_path)
    put("a/float.tif", Image.fromarray(np.full((4, 4), 70000, np.int32)))
    assert "its values are not in 0 … 65535" in refusal(tmp_path)


def test_folders_without_images(tmp_path, put):
    assert "holds no folders — expected one a class" in refusal(tmp_path)
    put("loose.png")
    assert "holds no folders — expected one a class" in refusal(tmp_path)
    put("a/one.png")
    (tmp_path / "b").mkdir()
    assert f"class folder {tmp_path / 'b'} holds no image" in refusal(tmp_path)
    (tmp_path / "b" / "c").mkdir()
    assert f"{tmp_path / 'b' / 'c'} is no image file" in refusal(tmp_path)
    assert "nowhere' is no directory" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize(("setting", "said"), [
    ({"size": 0}, "size"), ({"channels": 2}, "channels"), ({"part": "val"}, "part"),
    ({"sise": 3}, "did you mean 'size'"),
])  # fmt: skip
def test_impossible_settings(setting, said):
    with pytest.raises(ConfigError, match=said):
        structure({"data": ".", **setting}, Folder, "dataset 'folder'")
