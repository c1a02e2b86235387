"""Files that a user names: what is in them, and that it is the same when a run is repeated.

A component keeps a file's name and its SHA-256 as settings of its own. The digest is taken when the component is made,
recorded with the run, and held against the file when the run is made again.

Nothing in a file is executed: pictures are decoded by Pillow, arrays by NumPy with pickles refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from emnist_diff.errors import ConfigError
from emnist_diff.paths import local_path
from PIL import Image, UnidentifiedImageError

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

EXAMPLE = "example:"
"""A name that starts so is one of the pictures that come with this package."""

FORMATS = ("PNG", "JPEG", "BMP")
"""What is decoded as a picture; Pillow knows more, some of it by starting other programs."""

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".npy")


def path_of(name: str) -> Path:
    """The file that a name means. Raises `ConfigError` for an example that there is none of."""
    if not name.startswith(EXAMPLE):
        return Path(local_path(name))
    folder = Path(__file__).parent / "examples"
    path = folder / name[len(EXAMPLE) :]
    known = sorted(p.name for p in folder.iterdir())
    if path.name not in known or path.parent != folder:
        raise ConfigError(f"there is no {name!r} — known: {', '.join(EXAMPLE + n for n in known)}")
    return path


def bank(name: str) -> list[str]:
    """The pictures and arrays directly in a folder, in the order of their names; [] for what is no folder.

    Raises `ConfigError` for a folder without any.
    """
    if name.startswith(EXAMPLE) or not os.path.isdir(local_path(name)):
        return []
    files = sorted(entry.path for entry in os.scandir(local_path(name)) if entry.name.lower().endswith(_SUFFIXES))
    if not files:
        raise ConfigError(f"the folder {name!r} holds no images ({', '.join(_SUFFIXES)})")
    return files


def content(name: str) -> bytes:
    """The bytes of a file. Raises `ConfigError` naming it."""
    try:
        return path_of(name).read_bytes()
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot read {name!r}: {reason}") from error


def digest(name: str) -> str:
    """The SHA-256 of a file, or of those of a folder's images in their order, in hexadecimal. Raises as `content`."""
    files = bank(name)
    data = "".join(map(digest, files)).encode() if files else content(name)
    return hashlib.sha256(data).hexdigest()


def digest_field(of: str, other: Collection[str] = ()) -> Any:
    """The setting that says which content the file of the setting `of` must have: what it has, unless it is given.

    other: what `of` may be that is no file; it has no digest.
    """

    def taken(instance: Any) -> str:
        name: str = getattr(instance, of)
        return "" if name in other else digest(name)

    def held(instance: Any, attribute: Any, value: str) -> None:
        name: str = getattr(instance, of)
        found = taken(instance)
        if value != found:
            said = f"whose SHA-256 is {found}" if found else "which is no file"
            raise ConfigError(f"{of} = {name!r}, {said}, is not the file that was recorded, whose SHA-256 is {value}")

    return attrs.field(
        default=attrs.Factory(taken, takes_self=True),
        validator=held,
        metadata={"help": f"SHA-256 of the file {of}; taken from it, and held against it when a run is made again"},
    )


def array(name: str) -> npt.NDArray[Any]:
    """The real numbers in a ``.npy`` file. Raises `ConfigError` naming the file for anything else."""
    try:
        values = np.load(io.BytesIO(content(name)), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, SyntaxError) as error:  # what NumPy raises for what is no such file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{name!r} holds no NumPy array that can be read: {reason}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise ConfigError(f"{name!r} holds no array of real numbers — save one with numpy.save")
    if not np.isfinite(values).all():
        raise ConfigError(f"{name!r} holds values that are not finite")
    return values


def pixels(name: str) -> Pixels:
    """A picture as uint8 (H, W), or (H, W, 3) where it has colours. Raises `ConfigError` naming the file."""
    data = io.BytesIO(content(name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(data, formats=FORMATS) as image:
                if image.mode.startswith(("I", "F")):
                    raise ValueError("it has more than 8 bits a channel")
                return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ConfigError(f"{name!r} has more than {Image.MAX_IMAGE_PIXELS} pixels — make it smaller") from error
    except Exception as error:  # a decoder raises whatever it stumbles over
        reason = "" if isinstance(error, UnidentifiedImageError) else f": {' '.join(str(error).split())}"
        raise ConfigError(
            f"{name!r} is no image that can be read ({', '.join(FORMATS)}, or an array in .npy){reason}"
        ) from error
