"""A folder of images, one subfolder a class."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt
from attrs import validators as v
from PIL import Image, ImageOps, UnidentifiedImageError

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets import _files
from emnist_diff_plugins.datasets.images import Images, only_field
from emnist_diff_trajectory.files import sha256

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What is decoded; Pillow knows more, some of it by starting other programs."""

_MOST_PIXELS = 1 << 26
"""Of an image; a camera takes up to 50 million, and more would not fit into a gigabyte while it is decoded."""

_BAND = 1 << 22
"""Pixels that are converted at a time."""


@attrs.frozen
class Folder:
    """Images in folders named by their classes, e.g. ``DIR/A/scan1.png``.

    Classes are sorted as people count: ``2`` before ``10``. Images become gray or RGB, black where they are
    transparent, and fit a square by one bicubic resampling; what is left of the square takes the median of the
    image's border. Of an animation the first picture counts. Where `data` holds folders ``train`` and ``test`` that
    hold folders themselves, these are the parts, and the classes are those of ``train``.

    Example: ``emnist-diff train unet2d --dataset "folder:size=64,channels=3" --data DIR``
    """

    data: str = attrs.field(metadata={"help": "directory with one folder a class, or with folders train and test"})
    size: int = attrs.field(default=28, validator=v.ge(1), metadata={"help": "height and width in pixels"})
    channels: int = attrs.field(default=1, validator=v.in_((1, 3)), metadata={"help": "1 (gray) or 3 (RGB)"})
    part: Literal["train", "test"] = attrs.field(
        default="train", metadata={"help": "train or test; without such folders all is train"}
    )
    only: str | None = only_field()

    def load(self) -> Images:
        """All images of the part, (N, channels, size, size), class by class, by file name.

        Raises `DatasetError` naming the folder without images, the test folder without a class, or the file that is
        no image.
        """
        top, classes = self._classes()
        files = [(label, path) for label, name in enumerate(classes) for path in _images_in(top / name)]
        try:
            images = np.empty((len(files), self.channels, self.size, self.size), np.uint8)
        except (MemoryError, ValueError) as error:
            raise DatasetError(f"{len(files)} images of {self.size} × {self.size} do not fit into memory") from error
        digest = hashlib.sha256()
        for place, (label, path) in enumerate(files):
            images[place] = read(path, self.size, self.channels)
            digest.update(f"{classes[label]}/{path.name}\0{sha256(path)}\n".encode("utf-8", "surrogateescape"))
        return Images(
            images,
            np.array([label for label, _ in files], np.int64),
            classes,
            provenance={
                "reader": "folder",
                "part": self.part,
                "images": len(files),
                "size": self.size,
                "channels": self.channels,
                "sha256": digest.hexdigest(),
            },
        ).of_classes(self.only)

    def _classes(self) -> tuple[Path, tuple[str, ...]]:
        """The folder of the part, and the class names in order."""
        data = _files.directory(self.data)
        parts = {part: data / part for part in ("train", "test") if _folders(data / part)}
        if self.part == "test" and not parts.get("test"):
            raise DatasetError(f"{self.data} has no test part — it would be a folder 'test' with one folder a class")
        top = parts.get(self.part, data)
        classes = _folders(parts.get("train", top))
        if not classes:
            raise DatasetError(f"{top} holds no folders — expected one a class, with its images")
        if foreign := [name for name in _folders(top) if name not in classes]:
            raise DatasetError(f"{top / foreign[0]} is no class of {parts['train']} — those are the classes")
        return top, classes


def read(path: Path, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """One image as uint8 (channels, size, size), upright. Raises `DatasetError` naming the file."""
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the rest, such as odd metadata, none names the file
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise Image.DecompressionBombError
                square = _square(_plain(image, "L" if channels == 1 else "RGB"), size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DatasetError(f"{path} has more than {_MOST_PIXELS} pixels — make it smaller") from error
    except Exception as error:  # a decoder raises whatever it stumbles over
        reason = "" if isinstance(error, UnidentifiedImageError) else f": {' '.join(str(error).split())}"
        raise DatasetError(
            f"{path} is no image that can be read ({', '.join(formats)}){reason} — mend it or take it out"
        ) from error
    pixels: npt.NDArray[np.uint8] = np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)
    return pixels


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Upright as the camera meant it, opaque, with 8 bits a channel. Converted band by band, since a copy of a large
    picture for each step would take gigabytes."""
    ImageOps.exif_transpose(image, in_place=True)
    out = Image.new(mode, image.size)
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        out.paste(_opaque(image.crop(box)).convert(mode), box)
    return out


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values are not in 0 … 65535")
        image = Image.fromarray((values // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image


def _square(image: Image.Image, size: int) -> Image.Image:
    """Resampled so that the longer side is `size`, centred on the median of its border."""
    longer = max(image.size)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    if width == height:
        return image
    pixels = np.asarray(image).reshape(height, width, -1)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    median = tuple(int(value) for value in np.median(border, axis=0))
    out = Image.new(image.mode, (size, size), median if len(median) > 1 else median[0])
    out.paste(image, ((size - width) // 2, (size - height) // 2))
    return out


def _images_in(folder: Path) -> Iterator[Path]:
    """The files of a class. Raises `DatasetError` when one is a folder, or there is none."""
    if not folder.is_dir():
        return  # a class without test images
    found = _files.entries(folder)
    if not found:
        raise DatasetError(f"class folder {folder} holds no image — take it out, or put some in")
    for path in found:
        if not path.is_file():
            raise DatasetError(f"{path} is no image file — a class folder holds nothing else")
        yield path


def _folders(folder: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, in the order in which people count."""
    if not folder.is_dir():
        return ()
    return tuple(sorted((p.name for p in _files.entries(folder) if p.is_dir()), key=_natural))


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sorts numbers within names as numbers: text and numbers alternate, so that like is compared with like."""
    words = re.split("([0-9]+)", name)
    return [int(word) if place % 2 else word for place, word in enumerate(words)], name
