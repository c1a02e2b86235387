"""Files of judges: weights, classes, and what is known of real images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
import torch

from emnist_diff.errors import CheckpointError, ConfigError, unknown
from emnist_diff_plugins.containers import tensorfile
from emnist_diff_plugins.containers.weights import filled
from emnist_diff_plugins.judging.network import JudgeNetwork
from emnist_diff_plugins.judging.reference import Reference
from emnist_diff_trajectory.files import write_bytes

_KEY = "emnist_diff_judge"
_REFERENCE = "reference/"
_MOST_CLASSES = 10_000


@attrs.frozen(eq=False)
class Judge:
    """A classifier and its reference.

    classes: names in index order.  image_shape: (C, H, W) of what it takes.  facts: JSON-ready; where it comes from.
    """

    name: str
    network: JudgeNetwork
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    reference: Reference
    facts: Mapping[str, Any]


def shipped() -> dict[str, Path]:
    """The judges that come with this package, by name."""
    folder = Path(str(files("emnist_diff_plugins.judging") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def chosen(requested: str | None, classes: Sequence[str], image_shape: Sequence[int]) -> Judge:
    """The judge of this name or file; without one, the shipped judge of fewest classes that knows all of `classes`.

    Raises `CheckpointError` for a file that is none, `ConfigError` where none fits classes and size of the images.
    """
    known = shipped()
    if requested is not None:
        path = known.get(requested) or Path(requested)
        if requested not in known and not path.suffix and not path.exists():
            raise unknown("judge", requested, known, "or name a file")
        judge = load(path)
        _require_fit(judge, classes, image_shape)
        return judge
    fitting = [judge for judge in map(load, known.values()) if _misfit(judge, classes, image_shape) is None]
    if not fitting:
        raise ConfigError(
            f"no shipped judge knows these classes at {'×'.join(map(str, image_shape))} — train one with "
            "emnist-diff train-judge, and name it with --judge FILE"
        )
    return min(fitting, key=lambda judge: len(judge.classes))


def chosen_or_none(requested: str | None, classes: Sequence[str], image_shape: Sequence[int]) -> Judge | None:
    """The judge as for `chosen`; None for ``none``, and where no name is given and no shipped judge fits."""
    if requested == "none":
        return None
    try:
        return chosen(requested, classes, image_shape)
    except ConfigError:
        if requested is not None:
            raise
        return None


def _misfit(judge: Judge, classes: Sequence[str], image_shape: Sequence[int]) -> str | None:
    """Why a judge cannot be asked about images of these classes, or None."""
    if tuple(image_shape) != judge.image_shape:
        wanted, given = ("×".join(map(str, shape)) for shape in (judge.image_shape, image_shape))
        return f"it takes images of {wanted}, not of {given}"
    absent = [name for name in classes if name not in judge.classes]
    return f"it does not know class {absent[0]!r}" if absent else None


def _require_fit(judge: Judge, classes: Sequence[str], image_shape: Sequence[int]) -> None:
    if reason := _misfit(judge, classes, image_shape):
        raise ConfigError(f"judge {judge.name!r} does not fit: {reason} — use another with --judge")


@cache
def load(path: Path) -> Judge:
    """The judge in a file. Raises `CheckpointError` for a file that is none or is damaged."""
    from safetensors import SafetensorError, safe_open

    described = tensorfile.read(path).metadata.get(_KEY)
    try:
        data = json.loads(described or "")
        classes, shape = tuple(data["classes"]), tuple(data["image_shape"])
        facts = dict(data["facts"])
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is no judge — train one with emnist-diff train-judge") from error
    sound = all(isinstance(name, str) for name in classes) and all(type(size) is int and size > 0 for size in shape)
    if not sound or not 0 < len(classes) <= _MOST_CLASSES or len(shape) != 3:
        raise CheckpointError(f"{path} is a damaged judge: its classes or the shape of its images are none")
    try:
        with safe_open(path, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read judge {str(path)!r}: {error}") from error
    numbers = {name.removeprefix(_REFERENCE): tensors.pop(name) for name in list(tensors) if _REFERENCE in name}
    network = filled(lambda: JudgeNetwork(shape[0], len(classes)), tensors, "cpu", str(path))
    wanted = {field.name for field in attrs.fields(Reference)}
    if numbers.keys() != wanted or any(len(tensor) != len(classes) for tensor in numbers.values()):
        raise CheckpointError(f"{path} is a damaged judge: what it knows of real images is not complete")
    reference = Reference(**{name: tensor.double().numpy() for name, tensor in numbers.items()})
    return Judge(path.stem, network, classes, shape, reference, facts)


def save(path: Path, judge: Judge) -> None:
    """Write a judge, whole or not at all. Raises `OutputError`."""
    from safetensors.torch import save as packed

    tensors = {name: tensor.contiguous() for name, tensor in judge.network.state_dict().items()}
    for field in attrs.fields(Reference):
        values = torch.from_numpy(getattr(judge.reference, field.name))
        tensors[_REFERENCE + field.name] = values.to(torch.float32).contiguous()
    described = {"classes": judge.classes, "image_shape": judge.image_shape, "facts": dict(judge.facts)}
    write_bytes(path, packed(tensors, {_KEY: json.dumps(described)}))
