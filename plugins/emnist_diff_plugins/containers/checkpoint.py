"""The checkpoint format: one ``.safetensors`` file, weights and a JSON header, nothing that can execute.

The header is one JSON object under the key ``emnist_diff`` of the file's metadata. Reading it needs no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff.brief import briefly
from emnist_diff.errors import CheckpointError, ConfigError, nearest
from emnist_diff.files import sha256 as sha256
from emnist_diff.files import write_bytes
from emnist_diff.paths import local_path
from emnist_diff.plaindata import from_json
from emnist_diff.shown import shown
from emnist_diff.structuring import structure, unstructure
from emnist_diff.timeline import NoiseSchedule, PredictionType
from emnist_diff_plugins.containers import foreign, tensorfile
from emnist_diff_plugins.containers.tensorfile import TensorFile, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
METADATA_KEY = "emnist_diff"
MOST_CLASSES = 1 << 16
_LONGEST_NAME = 1000
"""Characters of a class name."""
_LAST_EPOCH = 10**9

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "emnist-handwritten.safetensors"
"""The checkpoint that comes with this package, of handwritten digits and letters."""

_EPOCH = re.compile(r"epoch[_-]?(\d+)\.safetensors$")


@briefly
@attrs.frozen(kw_only=True)
class CheckpointHeader:
    """What a checkpoint says of itself.

    family: the denoiser component that can run it.  network: that component's settings.
    classes: names in index order.  null_index: the row that means "no class", or None.
    merged: names folded into another class by the dataset.  schedule: the forward process.
    prediction: what the network returns.  recommended: run settings to use unless the user says otherwise.
    provenance: data, training, licence, figures; free-form.  epoch: of training, or None.

    Raises `ConfigError` for classes that are none, too many, twice there, too long, or cannot be printed, a null_index
    or an epoch that none can have, a merge into what is no class, and the prediction of a flow, which is no
    diffusion's.
    """

    format_version: int = FORMAT_VERSION
    family: str
    network: dict[str, Any] = attrs.field(factory=dict)
    classes: tuple[str, ...]
    null_index: int | None = None
    merged: dict[str, str] = attrs.field(factory=dict)
    schedule: NoiseSchedule = attrs.field(factory=NoiseSchedule)
    prediction: PredictionType = "epsilon"
    recommended: dict[str, Any] = attrs.field(factory=dict)
    provenance: dict[str, Any] = attrs.field(factory=dict)
    epoch: int | None = None

    def __attrs_post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError("classes must be different, and at least one")
        if len(self.classes) > MOST_CLASSES:
            raise ConfigError(f"classes are {len(self.classes)}, the most is {MOST_CLASSES}")
        if odd := [n for n in self.classes if not (n and n.isprintable() and len(n) <= _LONGEST_NAME)]:
            raise ConfigError(
                f"class name {shown(odd[0])} is empty, has more than {_LONGEST_NAME} characters, or cannot be printed"
            )
        if self.prediction == "flow":
            raise ConfigError("prediction 'flow' belongs to a flow, and the schedule of a checkpoint is a diffusion's")
        if self.null_index is not None and not 0 <= self.null_index <= MOST_CLASSES:
            raise ConfigError(f"null_index {self.null_index} must be at least 0 and at most {MOST_CLASSES}")
        if self.epoch is not None and not 0 <= self.epoch <= _LAST_EPOCH:
            raise ConfigError(f"epoch {self.epoch} must be at least 0 and at most {_LAST_EPOCH}")
        if lost := sorted(set(self.merged.values()) - set(self.classes)):
            raise ConfigError(f"merged names {shown(lost[0])}, which is no class")


def read_header(path: Path) -> CheckpointHeader:
    """The header of a checkpoint file, read without its weights.

    Raises `CheckpointError` for a missing, foreign, truncated or newer file.
    """
    return _header(path, tensorfile.read(path))


def tensors_of(path: Path) -> dict[str, TensorInfo]:
    """What tensors a checkpoint holds, read without them. Raises as `read_header`."""
    return dict(tensorfile.read(path).tensors)


def load(path: Path) -> tuple[CheckpointHeader, dict[str, Tensor]]:
    """Header and weights; weights stored in half precision come back as float32. Raises as `read_header`."""
    import safetensors
    import torch
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:  # torch's own for a type it does not know
        raise CheckpointError(f"{path} is damaged: {error}") from error
    halves = (torch.float16, torch.bfloat16)
    return header, {name: t.float() if t.dtype in halves else t for name, t in tensors.items()}


def save(path: Path, header: CheckpointHeader, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint; `path` holds the old file or the whole new one, never a part.

    Raises `OutputError` when it cannot be written, and `ConfigError` for a recommended scheduler that cannot walk the
    forward process of the model.
    """
    from safetensors.torch import save as to_bytes

    from emnist_diff_plugins.containers.recommended import (
        require_walkable,  # needs torch, which reading a header does not
    )

    require_walkable(header)
    text = json.dumps(unstructure(header), allow_nan=False)
    data = to_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {METADATA_KEY: text})
    write_bytes(path, data)


def discover(path: Path, epoch: int | None = None) -> Path:
    """The checkpoint that a path means: a file is itself; of a directory, the newest epoch by file name, or `epoch`.

    Raises `CheckpointError` naming what is there instead, `ConfigError` for an epoch that is not the file's own.
    """
    path = Path(local_path(path))
    if path.is_dir():
        if (what := foreign.folder(path)) is not None:
            raise CheckpointError(f"{path} is {what}")
        files = sorted(path.glob("*.safetensors"))
        epochs: dict[int, list[Path]] = {}
        for file in files:
            if m := _EPOCH.search(file.name):
                epochs.setdefault(int(m[1]), []).append(file)
        if epoch is not None and epoch not in epochs:
            known = ", ".join(map(str, sorted(epochs))) or "none"
            raise CheckpointError(f"no checkpoint of epoch {epoch} in {path} — epochs there: {known}")
        if epochs:
            wanted = max(epochs) if epoch is None else epoch
            if len(epochs[wanted]) > 1:
                names = " and ".join(f.name for f in epochs[wanted])
                raise CheckpointError(f"{path} holds several checkpoints of epoch {wanted}: {names} — name the file")
            return epochs[wanted][0]
        if len(files) == 1:
            return files[0]
        legacy = sorted(path.glob("*.pt"))
        if legacy:
            raise CheckpointError(
                f"{path} holds only legacy checkpoints — convert one first: emnist-diff checkpoint convert {legacy[-1]}"
            )
        what = "several checkpoints without an epoch in their names" if files else "no checkpoint (*.safetensors)"
        raise CheckpointError(f"{path} holds {what} — name the file")
    if not path.exists():
        raise missing(path)
    if path.suffix == ".pt":
        raise CheckpointError(f"{path} is a legacy checkpoint — convert it: emnist-diff checkpoint convert {path}")
    if path.name.endswith(".index.json"):
        raise CheckpointError(f"{path} lists the parts of a checkpoint that was split — {foreign.FROM_DIFFUSERS}")
    if path.suffix == ".json" and (what := foreign.folder(path.parent)) is not None:
        raise CheckpointError(f"{path} holds settings and no weights; its folder is {what}")
    if epoch is not None and epoch != (own := _epoch_of(path)):
        which = "one file, which does not say its epoch" if own is None else f"one file, of epoch {own}"
        raise ConfigError(f"epoch {epoch} was asked for, but {path} is {which} — name its directory, or no epoch")
    return path


def _epoch_of(path: Path) -> int | None:
    """The epoch in the name of a file, else that in its header; None where neither says."""
    if match := _EPOCH.search(path.name):
        return int(match[1])
    return read_header(path).epoch


def located(path: str | Path | None, epoch: int | None = None) -> Path:
    """The checkpoint file that a path means; without one, the file that comes with this package. Raises as `discover`
    and `shipped`."""
    return shipped() if path is None else discover(Path(path), epoch)


def shipped() -> Path:
    """The checkpoint that comes with this package. Raises `CheckpointError` where an installation lacks it."""
    if SHIPPED.is_file():
        return SHIPPED
    raise CheckpointError("no checkpoint was named, and no installed package ships one — say --checkpoint FILE")


def missing(path: Path) -> CheckpointError:
    """The error for a checkpoint that is not there, with the nearest files beside it."""
    near = nearest(path.name, [f.name for f in path.parent.glob("*")] if path.parent.is_dir() else [])
    hint = f" — did you mean {str(path.parent / near[0])!r}?" if near else ""
    return CheckpointError(f"checkpoint {str(path)!r} does not exist{hint}")


def _header(path: Path, file: TensorFile) -> CheckpointHeader:
    text = file.metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        raise CheckpointError(f"{path} is no emnist-diff checkpoint, but {foreign.weights(file.tensors)}")
    try:
        raw = from_json(text, names=True)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: its emnist-diff header is no JSON ({error})") from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version}, this emnist-diff reads {FORMAT_VERSION} — upgrade emnist-diff"
        )
    try:
        return structure(raw, CheckpointHeader, "checkpoint header")
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
