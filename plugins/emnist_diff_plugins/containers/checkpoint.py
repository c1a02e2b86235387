"""The checkpoint format: one ``.safetensors`` file, weights and a JSON header, nothing that can execute.

The header is one JSON object under the key ``emnist_diff`` of the file's metadata. Reading it needs no torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from emnist_diff.brief import briefly
from emnist_diff.errors import CheckpointError, ConfigError, nearest
from emnist_diff.paths import local_path
from emnist_diff.shown import shown
from emnist_diff.structuring import structure, unstructure
from emnist_diff.timeline import FlowSchedule, ForwardProcess, NoiseSchedule, PredictionType
from emnist_diff_plugins.containers import foreign, tensorfile
from emnist_diff_plugins.containers.headers import HeaderFormat
from emnist_diff_plugins.containers.shipped import models, shipped
from emnist_diff_plugins.containers.tensorfile import TensorInfo
from emnist_diff_trajectory.files import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 2
"""Files of version 1 are read too: they hold pixel diffusions, which is what a header without the newer keys says."""
METADATA_KEY = "emnist_diff"
MOST_CLASSES = 1 << 16
_LONGEST_NAME = 1000
"""Characters of a class name."""
_LAST_EPOCH = 10**9

EXPERIMENTS = "checkpoints"
"""The folder of the checkpoints in that of an experiment."""

_EPOCH = re.compile(r"epoch[_-]?(\d+)\.safetensors$")


@attrs.frozen(kw_only=True)
class CodecHeader:
    """Which codec a checkpoint holds under ``codec/``.

    name: the codec component.  network: its settings.  shape: of its latents.  image_shape: (C, H, W) of its images.
    sha256: of its tensors and settings, see `codecs.identity`; what two models on one codec have in common.
    """

    name: str
    network: dict[str, Any] = attrs.field(factory=dict)
    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    sha256: str

    def __attrs_post_init__(self) -> None:
        if not self.shape or len(self.image_shape) != 3 or min(*self.shape, *self.image_shape) < 1:
            raise ConfigError(
                f"codec: shapes {shown(self.shape)} and {shown(self.image_shape)} are not of latents and images"
            )


@briefly
@attrs.frozen(kw_only=True)
class CheckpointHeader:
    """What a checkpoint says of itself.

    role: whether the file holds a denoiser, or a codec alone.
    family: the denoiser component that can run it; of a codec the codec's.  network: that component's settings.
    classes: names in index order.  null_index: the row that means "no class", or None.
    merged: names folded into another class by the dataset.  schedule: the forward process, a diffusion's or a flow's.
    prediction: what the network returns.  objective: the component that it was trained by, with its settings, where
    that is known.  codec: what states are latents of; None for pixels.
    recommended: run settings to use unless the user says otherwise.
    provenance: data, training, licence, figures; free-form.  epoch: of training, or None.

    Raises `ConfigError` for classes that are none, too many, twice there, too long, or cannot be printed, a null_index
    or an epoch that none can have, a merge into what is no class, a prediction that does not belong to the forward
    process, a bound on x0 that latents or flows do not have, and a codec's file without a codec.
    """

    format_version: int = FORMAT_VERSION
    role: Literal["denoiser", "codec"] = "denoiser"
    family: str
    network: dict[str, Any] = attrs.field(factory=dict)
    classes: tuple[str, ...]
    null_index: int | None = None
    merged: dict[str, str] = attrs.field(factory=dict)
    schedule: ForwardProcess = attrs.field(factory=NoiseSchedule)
    prediction: PredictionType = "epsilon"
    objective: dict[str, Any] | None = None
    codec: CodecHeader | None = None
    recommended: dict[str, Any] = attrs.field(factory=dict)
    provenance: dict[str, Any] = attrs.field(factory=dict)
    epoch: int | None = None

    def __attrs_post_init__(self) -> None:
        _require_classes(self.classes)
        _require_process(self)
        if self.null_index is not None and not 0 <= self.null_index <= MOST_CLASSES:
            raise ConfigError(f"null_index {self.null_index} must be at least 0 and at most {MOST_CLASSES}")
        if self.epoch is not None and not 0 <= self.epoch <= _LAST_EPOCH:
            raise ConfigError(f"epoch {self.epoch} must be at least 0 and at most {_LAST_EPOCH}")
        if lost := sorted(set(self.merged.values()) - set(self.classes)):
            raise ConfigError(f"merged names {shown(lost[0])}, which is no class")
        if self.role == "codec" and self.codec is None:
            raise ConfigError("role is codec, and the header describes no codec")


def _require_classes(classes: tuple[str, ...]) -> None:
    if not classes or len(set(classes)) != len(classes):
        raise ConfigError("classes must be different, and at least one")
    if len(classes) > MOST_CLASSES:
        raise ConfigError(f"classes are {len(classes)}, the most is {MOST_CLASSES}")
    if odd := [n for n in classes if not (n and n.isprintable() and len(n) <= _LONGEST_NAME)]:
        raise ConfigError(
            f"class name {shown(odd[0])} is empty, has more than {_LONGEST_NAME} characters, or cannot be printed"
        )


def _require_process(header: CheckpointHeader) -> None:
    """Raise `ConfigError` where forward process, prediction and space contradict each other."""
    flow = isinstance(header.schedule, FlowSchedule)
    if flow and header.prediction not in ("flow", "sample"):
        raise ConfigError(f"prediction {header.prediction!r} belongs to a diffusion, and the schedule is a flow's")
    if not flow and header.prediction == "flow":
        raise ConfigError("prediction 'flow' belongs to a flow, and the schedule is a diffusion's")
    if header.role == "denoiser" and header.schedule.clip_sample is not None and (flow or header.codec is not None):
        space = "latents have no range" if header.codec is not None else "the states of a flow are not clipped"
        raise ConfigError(f"clip_sample must be null: {space}")


def read_header(path: Path) -> CheckpointHeader:
    """The header of a checkpoint file, read without its weights.

    Raises `CheckpointError` for a missing, foreign, truncated or newer file.
    """
    return _FORMAT.read(path, tensorfile.read(path))


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

    if header.role == "denoiser":
        require_walkable(header)
    text = json.dumps(unstructure(attrs.evolve(header, format_version=FORMAT_VERSION)), allow_nan=False)
    data = to_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {METADATA_KEY: text})
    write_bytes(path, data)


def discover(path: Path, epoch: int | None = None) -> Path:
    """The checkpoint that a path means: a file is itself; of a directory, the newest epoch by file name, or `epoch`;
    where there is neither, the shipped one of this name.

    Raises `CheckpointError` naming what is there instead, `ConfigError` for an epoch that is not the file's own.
    """
    path = Path(local_path(path))
    if not path.exists():
        path = models().get(str(path), path)
    if path.is_dir():
        return _in_folder(path, epoch)
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
        raise ConfigError(f"epoch {epoch} was requested, but {path} is {which} — name its directory, or no epoch")
    return path


def _in_folder(path: Path, epoch: int | None) -> Path:
    """The newest epoch of a directory by file name, or `epoch`."""
    if (what := foreign.folder(path)) is not None:
        raise CheckpointError(f"{path} is {what}")
    files = sorted(path.glob("*.safetensors")) or sorted((path / EXPERIMENTS).glob("*.safetensors"))
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
    more = "" if files else ", or the folder of a pipeline, which has a model_index.json"
    raise CheckpointError(f"{path} holds {what} — name the file{more}")


def _epoch_of(path: Path) -> int | None:
    """The epoch in the name of a file, else that in its header; None where neither says."""
    if match := _EPOCH.search(path.name):
        return int(match[1])
    return read_header(path).epoch


def located(path: str | Path | None, epoch: int | None = None) -> Path:
    """The checkpoint file that a path means; without one, the file that comes with this package. Raises as `discover`
    and `shipped.shipped`."""
    return shipped() if path is None else discover(Path(path), epoch)


def missing(path: Path) -> CheckpointError:
    """The error for a checkpoint that is not there, with the nearest files beside it."""
    known = {f.name: str(path.parent / f.name) for f in (path.parent.glob("*") if path.parent.is_dir() else ())}
    known |= {name: name for name in models()} if len(path.parts) == 1 else {}
    near = nearest(path.name, known)
    hint = f" — did you mean {known[near[0]]!r}?" if near else ""
    return CheckpointError(f"checkpoint {str(path)!r} does not exist{hint}")


def _check(raw: dict[str, Any]) -> None:
    """Raise `ConfigError` for a schedule that is none; of which process it is, its keys say."""
    schedule = raw.get("schedule")
    if isinstance(schedule, dict):
        process = FlowSchedule if "time_scale" in schedule else NoiseSchedule
        structure(schedule, process, "checkpoint header: schedule")


_FORMAT = HeaderFormat(
    METADATA_KEY,
    FORMAT_VERSION,
    CheckpointHeader,
    "checkpoint format",
    "checkpoint header",
    lambda file: f"emnist-diff checkpoint, but {foreign.weights(file.tensors)}",
    check=_check,
)
