"""Inner activations of the main network, where a sink requests some: one more evaluation, which changes no sample."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from emnist_diff.conditions import Cond, Group, Packing, RowConditions
from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.checks import blamed_on
from emnist_diff.errors import RunFailed
from emnist_diff.frames import FIELDS, is_requested
from emnist_diff.protocols import Captures, offers
from emnist_diff.timeline import StepInfo


def captured(
    run: BatchEngine, at: StepInfo, x: Tensor, packing: Packing, requests: Iterable[str]
) -> tuple[tuple[Cond, ...], dict[str, Tensor]]:
    """The activations that some requests mean, at a step's first evaluation, and the conditions that they are of;
    nothing, and cheap, where no request goes beyond what every run has."""
    denoiser, inner_requests = run.engine.denoisers[""], [r for r in requests if r.partition("/")[0] not in FIELDS]
    if not inner_requests or not offers(denoiser, Captures):
        return (), {}
    names = frozenset(name for name in denoiser.activations if is_requested(name, inner_requests))
    if not names:
        return (), {}
    with blamed_on("the denoiser", at):
        return capture(denoiser, packing, x, at.timestep, names, run.engine.micro_batch)


def capture(
    denoiser: Captures, packing: Packing, x: Tensor, timestep: float, names: frozenset[str], most_rows: int
) -> tuple[tuple[Cond, ...], dict[str, Tensor]]:
    """The conditions that the main network evaluates at x (B, *shape), and its activations for each sample and each of
    them: (B, conditions, *shape of the activation) float32, by name.

    most_rows: of a call.  Raises `RunFailed` for activations of another shape than the denoiser says.
    """
    number_of = {cond: number for cond, (number, _) in packing.gather.items() if not packing.groups[number].denoiser}
    rows = {n: _rows(denoiser, packing.groups[n], x, timestep, names, most_rows) for n in set(number_of.values())}
    tensors = {
        name: torch.stack([rows[n][name].index_select(0, packing.gather[cond][1]) for cond, n in number_of.items()], 1)
        for name in sorted(names)
    }
    return tuple(number_of), tensors


def _rows(
    denoiser: Captures, group: Group, x: Tensor, timestep: float, names: frozenset[str], most_rows: int
) -> dict[str, Tensor]:
    """The activations of the rows of one group."""
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for sample, index in zip(group.sample.split(most_rows), group.index.split(most_rows), strict=True):
        t = torch.full((len(sample),), timestep, dtype=torch.float32, device=x.device)
        answer = denoiser.capture(x.index_select(0, sample), t, RowConditions(index, group.variant), names)
        for name in names:
            value, shape = answer[name].detach().float(), (len(sample), *denoiser.activations[name])
            if value.shape != shape:
                raise RunFailed(f"the denoiser captured {name!r} in shape {tuple(value.shape)} instead of {shape}")
            parts[name].append(value)
    return {name: torch.cat(values) for name, values in parts.items()}
