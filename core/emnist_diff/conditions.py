"""Conditions: what a denoiser gets beside x_t, and how requests for them become network rows.

Forces and the base *declare* the conditions they read. The engine collects the set, asks which row each
(condition, sample) pair stands for, drops repetitions and evaluates the rest once (`pack`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import attrs
import torch
from torch import Tensor

from emnist_diff.errors import ConfigError, unknown
from emnist_diff.spaces import ConditionSpace, Inputs, with_inputs


def _sorted_inputs(numbers: Mapping[str, float] | Iterable[tuple[str, float]]) -> Inputs:
    return tuple(sorted((name, float(value)) for name, value in dict(numbers).items()))


@attrs.frozen
class Cond:
    """One condition, of one network.

    kind: ``own`` (each sample's own class), ``null`` (no class), ``class`` (the one named by `value`) or ``each``
    (sample i has the i-th of `values`).
    value: the class name where `kind` is ``class``.
    values: class names by sample id where `kind` is ``each``.
    inputs: numbers that the network takes beside the name, name → value, such as a size; see `ConditionSpace.index`.
    denoiser: name of a second denoiser of the run, ``""`` for the main one.
    variant: name of a variant that the denoiser declares, ``""`` for the plain network.
    """

    kind: Literal["own", "null", "class", "each"]
    value: str = ""
    denoiser: str = ""
    variant: str = ""
    values: tuple[str, ...] = ()
    inputs: Inputs = attrs.field(default=(), converter=_sorted_inputs)

    def __str__(self) -> str:
        name = with_inputs(self.value if self.kind == "class" else self.kind, self.inputs)
        return name + (f"@{self.denoiser}" if self.denoiser else "") + (f"~{self.variant}" if self.variant else "")


OWN = Cond("own")
NULL = Cond("null")


def named(value: str) -> Cond:
    """The condition of the class called `value`; ``"own"`` and ``"null"`` mean those."""
    return {"own": OWN, "null": NULL}.get(value) or Cond("class", value)


def each(values: Sequence[str]) -> Cond:
    """The condition that sample i is of the i-th of these classes, by sample id; ``own`` and ``null`` as in `named`."""
    return Cond("each", values=tuple(values))


def null_of(cond: Cond) -> Cond:
    """The null condition of the same network and variant, with the same inputs."""
    return Cond("null", denoiser=cond.denoiser, variant=cond.variant, inputs=cond.inputs)


def row_of(space: ConditionSpace, cond: Cond, label: int, sample_id: int = 0) -> int:
    """The row index that `cond` means for a sample with this id whose own class has index `label`.

    Raises `UnknownName` for a class that is not there, `ConfigError` where there is no null class, too few classes for
    the samples, or inputs that the denoiser does not take.
    """
    if cond.kind == "own":
        return space.index(space.classes[label], cond.inputs) if cond.inputs else label
    if cond.kind == "null":
        if space.null_index is None:
            raise ConfigError("this denoiser has no null class — use base 'cond' and no class forces")
        return space.index("", cond.inputs) if cond.inputs else space.null_index
    if cond.kind == "each":
        if sample_id >= len(cond.values):
            raise ConfigError(f"a target names {len(cond.values)} classes, too few for sample {sample_id}")
        return row_of(space, attrs.evolve(named(cond.values[sample_id]), inputs=cond.inputs), label, sample_id)
    return space.index(cond.value, cond.inputs)


@attrs.frozen
class RowConditions:
    """The conditions of the rows of one call.

    index: (rows,) int64, class indices.  variant: of the network, ``""`` for the plain one.
    """

    index: Tensor
    variant: str = ""


@attrs.frozen
class Group:
    """The rows that one network variant evaluates.

    denoiser, variant: the network that evaluates these rows.  sample: (R,) int64 positions in the batch.
    index: (R,) int64 class indices.
    """

    denoiser: str
    variant: str
    sample: Tensor
    index: Tensor


@attrs.frozen
class Packing:
    """Which rows to evaluate, and where each condition finds its own.

    groups: one per (denoiser, variant), in order of first mention.
    gather: for each condition, (group number, (B,) row numbers within that group).
    """

    groups: tuple[Group, ...]
    gather: Mapping[Cond, tuple[int, Tensor]]

    @property
    def rows(self) -> int:
        """How many network rows the packing evaluates, padding not counted."""
        return sum(len(g.sample) for g in self.groups)


def pack(
    conds: Iterable[Cond],
    labels: Sequence[int],
    spaces: Mapping[str, ConditionSpace],
    sample_ids: Sequence[int] | None = None,
    device: torch.device | None = None,
) -> Packing:
    """Lay the wanted conditions of a batch out as network rows, no (class, sample) row twice.

    conds: the conditions wanted, repetitions allowed.
    labels: the samples' own class indices, B of them, as the main denoiser counts them.
    spaces: the classes of each denoiser, by name (``""`` is the main one). Another one's are found by their names.
    sample_ids: the samples' ids; 0 … B-1 when left out.  device: where the indices are to be; the CPU when left out.

    Rows are sample-major within a group: a sample's rows stand together.
    """

    def integers(values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    wanted = list(dict.fromkeys(conds))
    ids = range(len(labels)) if sample_ids is None else sample_ids
    networks = list(dict.fromkeys((c.denoiser, c.variant) for c in wanted))
    groups: list[Group] = []
    gather: dict[Cond, tuple[int, Tensor]] = {}
    for number, (denoiser, variant) in enumerate(networks):
        if denoiser not in spaces:
            guides = [name for name in spaces if name]
            raise unknown("guide", denoiser, guides, f"a condition names it: use --guide {denoiser}=FILE")
        space = spaces[denoiser]
        own = _counted_by(space, spaces[""], labels) if denoiser else labels
        group_conds = [c for c in wanted if (c.denoiser, c.variant) == (denoiser, variant)]
        where: dict[tuple[int, int], int] = {}
        positions: dict[Cond, list[int]] = {c: [] for c in group_conds}
        for sample, (label, sample_id) in enumerate(zip(own, ids, strict=True)):
            for cond in group_conds:
                key = (sample, row_of(space, cond, label, sample_id))
                positions[cond].append(where.setdefault(key, len(where)))
        samples, indices = ([row[part] for row in where] for part in (0, 1))
        groups.append(Group(denoiser, variant, integers(samples), integers(indices)))
        gather |= {cond: (number, integers(positions[cond])) for cond in group_conds}
    return Packing(tuple(groups), gather)


def _counted_by(space: ConditionSpace, main: ConditionSpace, labels: Sequence[int]) -> Sequence[int]:
    """Class indices of the main denoiser as those of `space`, by name."""
    if space.classes == main.classes:
        return labels
    indices = {label: space.index(main.classes[label]) for label in set(labels)}
    return [indices[label] for label in labels]


class Predictions(Mapping[Cond, Tensor]):
    """The predictions of one step: ``predictions[cond]`` is (B, *shape). Asking for an undeclared one is an error."""

    def __init__(self, packing: Packing, outputs: Sequence[Tensor]) -> None:
        self._packing = packing
        self._outputs = outputs
        self._cache: dict[Cond, Tensor] = {}

    def __getitem__(self, cond: Cond) -> Tensor:
        if cond not in self._cache:
            if cond not in self._packing.gather:
                raise KeyError(
                    f"condition {str(cond)!r} was read but not declared by conditions(); declared: "
                    + (", ".join(sorted(map(str, self._packing.gather))) or "none")
                )
            group, rows = self._packing.gather[cond]
            self._cache[cond] = self._outputs[group].index_select(0, rows)
        return self._cache[cond]

    def __iter__(self):  # type: ignore[no-untyped-def]  # Iterator[Cond], as Mapping declares
        return iter(self._packing.gather)

    def __len__(self) -> int:
        return len(self._packing.gather)

    def direction(self, cond: Cond) -> Tensor:
        """F(c) = e_c - e_null, the direction toward a condition; (B, *shape). Both must have been declared."""
        return self[cond] - self[null_of(cond)]
