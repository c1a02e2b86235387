"""Guidance rules of the literature, as forces. Hook implementations only: no torch."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import ForceSpec

_HERE = "emnist_diff_forces_contrib"

_FORCES = {
    "interval": ("Interval", "guidance within a range of noise levels (Kynkäänniemi et al. 2024)"),
    "dynamic_cfg": ("DynamicCfg", "guidance whose scale follows a curve over the run (Wang et al. 2024)"),
    "cfg_pp": ("CfgPp", "CFG++: renoised without the class (Chung et al. 2024)"),
    "cfg_zero_star": ("CfgZeroStar", "CFG-Zero*: the unconditional prediction rescaled (Fan et al. 2025)"),
    "adaptive_projected": ("AdaptiveProjected", "APG: guidance across the prediction (Sadat et al. 2024)"),
    "frequency_decoupled": ("FrequencyDecoupled", "FDG: a scale for each band of frequencies (Sadat et al. 2025)"),
    "rescale": ("Rescale", "the contrast of the conditional prediction restored (Lin et al. 2024)"),
    "perturbed_attention": ("PerturbedAttention", "PAG: away from a network that cannot attend (Ahn et al. 2024)"),
    "smoothed_energy": ("SmoothedEnergy", "SEG: away from a network whose attention is blurred (Hong 2024)"),
    "skip_layers": ("SkipLayers", "SLG: away from a network without some of its layers (Hyung et al. 2024)"),
    "autoguidance": ("Autoguidance", "away from a weaker version of the network (Karras et al. 2024)"),
    "contrast": ("Contrast", "the difference of any two classes, guides or variants (Karras et al. 2024)"),
    "perp_neg": ("PerpNeg", "Perp-Neg: anything but some classes, across the one kept (Armandpour et al. 2023)"),
    "regional": ("Regional", "each region of the picture its own class (Bar-Tal et al. 2023)"),
    "semantic": ("Semantic", "SEGA: concepts where they matter most, with momentum (Brack et al. 2023)"),
    "energy": ("Energy", "down the gradient of any energy of state or image"),
    "classifier": ("ClassifierForce", "toward a class, by the gradient of a classifier (Dhariwal and Nichol 2021)"),
}

_LOGIC = {
    "and": ("logical_and:And", "all of several classes: the product of their densities (Liu et al. 2022)"),
    "or": ("logical_or:Or", "one of several classes: the mixture of their densities (Du et al. 2023)"),
    "not": ("logical_not:Not", "anything but a class: its density divided out (Liu et al. 2022)"),
}


@hookimpl
def emnist_diff_forces() -> Iterable[ForceSpec]:
    for name, (cls, summary) in _FORCES.items():
        yield ForceSpec(name=name, factory=f"{_HERE}.{name}:{cls}", summary=summary)
    for name, (factory, summary) in _LOGIC.items():
        yield ForceSpec(name=name, factory=f"{_HERE}.{factory}", summary=summary)
