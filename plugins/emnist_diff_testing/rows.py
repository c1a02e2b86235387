"""The rules for the rows of denoisers: each is predicted for itself, from what it is given alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.variants import Variant
from emnist_diff_testing.denoisers import ROWS, DenoiserBench
from emnist_diff_testing.rules import first, rule
from emnist_diff_testing.traps import drawn, written


@rule(
    "denoiser",
    "a row's value depends neither on the other rows nor on its place, at a constant number of rows",
    "rows of all samples and conditions are packed into calls, and cut anew for every batch and worker",
)
def row_independence(bench: DenoiserBench) -> Iterator[str]:
    t = bench.levels[1]
    whole = bench.ask(bench.x, t, bench.index).out
    order = torch.arange(ROWS - 1, -1, -1)
    for what, rows in (
        ("in the opposite order", order),
        ("among copies of row 2", torch.tensor([1, 2, 2, 2, 4, 2])),
        ("with the call padded by its last row", torch.tensor([0, 1, 2, 2, 2, 2])),
    ):
        other = bench.ask(bench.x[rows], t, bench.index[rows]).out
        for place, row in enumerate(rows.tolist()):
            if not torch.equal(other[place], whole[row]):
                off = float((other[place] - whole[row]).abs().max())
                yield f"{what}, row {row} differs by {off:.2g}"
                break


@rule(
    "denoiser",
    "the same rows get the same prediction",
    "trajectories are compared, replayed and resumed to the bit; dropout and the like must be off",
)
def determinism(bench: DenoiserBench) -> Iterator[str]:
    for t, answer in bench.answers:
        if not torch.equal(bench.ask(bench.x, t, bench.index).out, answer.out):
            yield f"at timestep {t:g}: another one the second time"
            return


@rule(
    "denoiser",
    "the class index reaches the network",
    "guidance is the difference of two conditions; where there is none every force is zero",
    warning=True,
)
def conditions_matter(bench: DenoiserBench) -> Iterator[str]:
    if len(set(bench.index.tolist())) < 2:
        return
    for t in bench.levels:
        same = bench.x[:1].expand(ROWS, *bench.x.shape[1:]).contiguous()
        out = bench.ask(same, t, bench.index).out
        if not torch.equal(out[0], out[1]):
            return
    yield "rows that differ in their class alone get one prediction, at every level"


@rule(
    "denoiser",
    "the global generators of torch, numpy and random are left alone",
    "randomness belongs to schedulers, forces and drifts, which have keyed noise",
)
def no_global_random(bench: DenoiserBench) -> Iterator[str]:
    yield from first(drawn((f"at timestep {t:g}", answer.trapped) for t, answer in bench.answers))


@rule(
    "denoiser",
    "nothing that it is given is changed",
    "the rows are gathered from the state, which goes on",
)
def no_mutation(bench: DenoiserBench) -> Iterator[str]:
    yield from first(written((f"at timestep {t:g}", answer.trapped) for t, answer in bench.answers))


@rule(
    "denoiser",
    "the variants that it declares work, and keep rows independent",
    "a force that names one is let through because of the declaration",
)
def variants(bench: DenoiserBench) -> Iterator[str]:
    declared = getattr(bench.denoiser, "variants", ())
    if not isinstance(declared, tuple) or not all(isinstance(name, str) and name for name in declared):
        yield f"variants is {declared!r}, no tuple of names"
        return
    t = bench.levels[1]
    for name in (re.sub(r"@[A-Z]+", "@2", one) for one in declared):
        try:
            Variant.parse(name)
        except ConfigError as error:
            yield str(error)
            continue
        whole = bench.ask(bench.x, t, bench.index, name).out
        if not isinstance(whole, Tensor) or whole.shape != bench.x.shape or not bool(torch.isfinite(whole).all()):
            yield f"variant {name!r} gives no finite prediction of the rows' shape"
            continue
        order = torch.arange(ROWS - 1, -1, -1)
        if not torch.equal(bench.ask(bench.x[order], t, bench.index[order], name).out, whole[order]):
            yield f"variant {name!r}: rows depend on their order"
        if not torch.equal(bench.ask(bench.x, t, bench.index).out, bench.answers[1][1].out):
            yield f"after variant {name!r} the plain network is not what it was"
