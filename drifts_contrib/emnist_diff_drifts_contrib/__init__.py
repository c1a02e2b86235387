"""Drifts of the literature for emnist-diff. This module is what discovery imports: records only, and no torch."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec

_DRIFTS = {
    "langevin": ("Langevin", "Langevin corrector (Song et al. 2021), with or without a Metropolis test of each sample"),
    "inpaint": ("Inpaint", "a known part of the image stays, the rest is drawn (RePaint, Lugmayr et al. 2022)"),
    "sdedit": ("SdEdit", "starts from an image, noised to a chosen level (SDEdit, Meng et al. 2022)"),
    "low_pass": ("LowPass", "the coarse content of a reference (ILVR, Choi et al. 2021)"),
    "data_consistency": ("DataConsistency", "agrees with a measurement y = A x of the image (DDNM, Wang et al. 2023)"),
    "symmetry": ("Symmetry", "the average over flips or rotations"),
    "dynamic_threshold": ("DynamicThreshold", "a bound on the state by a percentile (Imagen, Saharia et al. 2022)"),
    "momentum": ("Momentum", "goes on a little as it went before (Nesterov 1983)"),
    "freeze_mask": ("FreezeMask", "a part of the state stays as it was at a chosen step"),
}


@hookimpl
def emnist_diff_drifts() -> Iterable[DriftSpec]:
    for name, (cls, summary) in _DRIFTS.items():
        yield DriftSpec(name=name, factory=f"{__name__}.{name}:{cls}", summary=summary)
