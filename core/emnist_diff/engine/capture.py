"""Inner activations of the main network, where a sink requests some: one more evaluation, which changes no sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from emnist_diff.conditions import Cond, Group, Packing, RowConditions
from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.checks import blamed_on
from emnist_diff.errors import RunFailed
from emnist_diff.frames import FIELDS
from emnist_diff.onethread import one_thread
from emnist_diff.protocols import Captures, offers
from emnist_diff.timeline import StepInfo


def captured(
    run: BatchEngine, at: StepInfo, x: Tensor, packing: Packing, requests: Iterable[str]
) -> tuple[tuple[Cond, ...], dict[str, Tensor]]:
    """The conditions that the main network evaluates at x (B, *shape), and the requested activations of it for each
    sample and each of them: (B, conditions, *shape of the activation) float32, by name. Nothing, and cheap, where no
    request goes beyond what every run has.

    Raises `RunFailed` for a denoiser that raises, or gives activations of another shape than it says.
    """
    denoiser, inner = run.engine.denoisers[""], sorted(r for r in requests if r.partition("/")[0] not in FIELDS)
    if not inner or not offers(denoiser, Captures) or not (shapes := denoiser.activations(inner)):
        return (), {}
    number_of = {cond: number for cond, (number, _) in packing.gather.items() if not packing.groups[number].denoiser}
    with blamed_on("the denoiser", at), one_thread(x.device):
        rows = {n: _rows(run, denoiser, packing.groups[n], x, at, inner) for n in set(number_of.values())}
    found = [
        {name: rows[n][name].index_select(0, packing.gather[c][1]) for name in shapes} for c, n in number_of.items()
    ]
    return tuple(number_of), {name: torch.stack([tensors[name] for tensors in found], 1) for name in shapes}


def _rows(
    run: BatchEngine, denoiser: Captures, group: Group, x: Tensor, at: StepInfo, requests: Sequence[str]
) -> dict[str, Tensor]:
    """The activations of the rows of one group, in calls of as many as any has, so that no bit depends on the batch."""
    shapes = denoiser.activations(requests)
    parts: dict[str, list[Tensor]] = {name: [] for name in shapes}
    count, most = len(group.sample), run.engine.micro_batch
    for rows in torch.arange(count + -count % most, device=x.device).clamp_(max=count - 1).split(most):
        t = torch.full((most,), at.timestep, dtype=torch.float32, device=x.device)
        conds = RowConditions(group.index[rows], group.variant)
        answer = denoiser.capture(x.index_select(0, group.sample[rows]), t, conds, requests)
        for name in shapes:
            value, shape = answer[name].detach().float(), (most, *shapes[name])
            if value.shape != shape:
                raise RunFailed(f"the denoiser captured {name!r} in shape {tuple(value.shape)} instead of {shape}")
            parts[name].append(value)
    return {name: torch.cat(values)[:count] for name, values in parts.items()}
