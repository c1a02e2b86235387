"""The rules for what stands around a denoiser's predictions: its inner activations, and the source it comes from."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.errors import EmnistDiffError
from emnist_diff.families import Source
from emnist_diff.frames import FIELDS
from emnist_diff.protocols import Captures, offers
from emnist_diff_plugins.capabilities import WEIGHTS
from emnist_diff_plugins.containers.families import TrainableFamily
from emnist_diff_testing.denoisers import ROWS, DenoiserBench, is_family
from emnist_diff_testing.rules import rule
from emnist_diff_testing.traps import Trapped, trap

_SHA256 = re.compile(r"[0-9a-f]{64}")


def _captured(bench: DenoiserBench, rows: Tensor) -> tuple[Mapping[str, Any], Trapped]:
    """All activations of some rows, and what capturing them did besides; none of a denoiser that offers none."""
    denoiser = bench.denoiser
    x, index = bench.x[rows], bench.index[rows]
    times = torch.full((len(x),), bench.levels[1], dtype=torch.float32)
    with torch.inference_mode(), trap({"x": x, "t": times, "conds.index": index}) as trapped:
        if not offers(denoiser, Captures):
            return {}, trapped
        return denoiser.capture(x, times, RowConditions(index), denoiser.capturable), trapped


@rule(
    "denoiser",
    "activations have names of their own, and the shapes that it declares, and are finite",
    "a file of them is laid out before the first step",
)
def activations(bench: DenoiserBench) -> Iterator[str]:
    if not offers(bench.denoiser, Captures):
        return
    declared = dict(bench.denoiser.activations(bench.denoiser.capturable))
    for name in declared:
        if name.partition("/")[0] in FIELDS:
            yield f"{name!r} is called as a field that every run has"
    found, _ = _captured(bench, torch.arange(ROWS))
    for name, shape in declared.items():
        value = found.get(name)
        if not isinstance(value, Tensor):
            yield f"{name!r} is declared, and capture() gives none"
        elif tuple(value.shape) != (ROWS, *shape):
            yield f"{name!r} has shape {tuple(value.shape)} instead of {(ROWS, *shape)}"
        elif not bool(torch.isfinite(value).all()):
            yield f"{name!r} is NaN or infinite"
    if len(bench.denoiser.capturable) > 1:
        one = min(bench.denoiser.capturable)
        times = torch.full((ROWS,), bench.levels[1], dtype=torch.float32)
        with torch.inference_mode():
            alone = bench.denoiser.capture(bench.x, times, RowConditions(bench.index), (one,))
        for name in bench.denoiser.activations((one,)):
            if name not in alone or not torch.equal(alone[name], found[name]):
                yield f"{name!r} captured alone is another than among all"


@rule(
    "denoiser",
    "capturing changes no prediction, and nothing that it is given",
    "a sink that records activations must not make another run",
)
def capture_changes_nothing(bench: DenoiserBench) -> Iterator[str]:
    if not offers(bench.denoiser, Captures):
        return
    before = bench.ask(bench.x, bench.levels[1], bench.index).out
    _, trapped = _captured(bench, torch.arange(ROWS))
    if not torch.equal(bench.ask(bench.x, bench.levels[1], bench.index).out, before):
        yield "after capture() the same rows get another prediction"
    if trapped.changed or trapped.generators:
        yield f"it changed {', '.join((*trapped.changed, *trapped.generators))}"


@rule(
    "denoiser",
    "a row's activations depend neither on the other rows nor on its place",
    "what is recorded of a sample must not depend on its batch",
)
def activation_rows(bench: DenoiserBench) -> Iterator[str]:
    whole, _ = _captured(bench, torch.arange(ROWS))
    for what, rows in (
        ("in the opposite order", torch.arange(ROWS - 1, -1, -1)),
        ("among copies of row 2", torch.tensor([1, 2, 2, 2, 4, 2])),
    ):
        other, _ = _captured(bench, rows)
        for name, value in whole.items():
            if name in other and not torch.equal(other[name], value[rows]):
                yield f"{what}, {name!r} differs"


@rule(
    "denoiser",
    "the source of a family says of the denoiser what the loaded one is",
    "a run is planned, and its settings are checked, by the source alone",
)
def source_agrees(bench: DenoiserBench) -> Iterator[str]:
    if not is_family(bench) or isinstance(bench.subject.make(), TrainableFamily):
        return
    source: Source = bench.subject.make().source(installed())
    denoiser = source.load("cpu")
    for name in ("conditions", "process", "prediction_type", "shape"):
        declared, loaded = getattr(source, name), getattr(denoiser, name)
        if declared != loaded:
            yield f"its source says {name} {declared!r:.100}, and the denoiser has {loaded!r:.100}"


@rule(
    "denoiser",
    "a source's identity is the same each time, and another where the file of the weights is",
    "resuming, replaying and merging refuse other weights by it",
)
def source_identity(bench: DenoiserBench) -> Iterator[str]:
    if not is_family(bench) or isinstance(bench.subject.make(), TrainableFamily):
        return
    family = bench.subject.make()
    identity = family.source(installed()).identity
    if bench.subject.make().source(installed()).identity != identity:
        yield "asked again, its source has another identity"
    for field in attrs.fields(type(family)) if attrs.has(type(family)) else ():
        value = getattr(family, field.name)
        if not field.metadata.get(WEIGHTS) or not isinstance(value, str | Path) or not Path(value).is_file():
            continue
        if not _SHA256.fullmatch(identity):
            yield f"{field.name} names weights, and the identity is {identity!r:.80}, no SHA-256 of them"
            continue
        yield from _follows_content(family, field, Path(value), identity)


def _follows_content(family: Any, field: Any, path: Path, identity: str) -> Iterator[str]:
    """Whether the identity is that of the content of a file, whatever its name."""
    data = bytearray(path.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"copy{path.suffix}"
        copy.write_bytes(data)
        other = attrs.evolve(family, **{field.alias: type(getattr(family, field.name))(copy)})
        if other.source(installed()).identity != identity:
            yield f"a copy of the file that {field.name} names has another identity"
        data[-1] ^= 1  # of the weights, which stand behind a header
        copy.write_bytes(data)
        try:
            if other.source(installed()).identity == identity:
                yield f"the identity is the same where the file that {field.name} names is another"
        except EmnistDiffError:
            pass  # it has noticed
