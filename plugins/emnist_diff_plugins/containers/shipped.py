"""The checkpoints that come with this package, which ``--checkpoint NAME`` means where no file has the name."""

from __future__ import annotations

from pathlib import Path

from emnist_diff.errors import CheckpointError

FOLDER = Path(__file__).parents[1] / "checkpoints"
DEFAULT = "emnist-handwritten"


def models() -> dict[str, Path]:
    """The shipped checkpoints by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}


def shipped() -> Path:
    """The one of a run that names none. Raises `CheckpointError` where an installation lacks it."""
    if (path := models().get(DEFAULT)) is not None:
        return path
    raise CheckpointError("no checkpoint was named, and no installed package ships one — use --checkpoint FILE")
