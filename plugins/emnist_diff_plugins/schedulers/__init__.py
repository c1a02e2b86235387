"""Schedulers: what turns a prediction into the next state."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import SchedulerSpec

_SCHEDULERS = {
    # class, summary, order, noise, evaluations a step
    "ddpm": ("Ddpm", "DDPM ancestral sampling (Ho et al. 2020), at any number of steps", "1", "yes", "1"),
    "ddim": ("Ddim", "DDIM (Song et al. 2021); deterministic at eta 0", "1", "eta > 0", "1"),
    "euler": ("Euler", "Euler in sigma (Karras et al. 2022)", "1", "no", "1"),
    "euler_ancestral": ("EulerAncestral", "Euler with fresh noise at every step (k-diffusion)", "1", "eta > 0", "1"),
    "heun": ("Heun", "Heun in sigma (Karras et al. 2022)", "2", "no", "2"),
    "dpm2": ("Dpm2", "DPM-Solver-2 (Lu et al. 2022): the midpoint in ln sigma", "2", "no", "2"),
    "lms": ("Lms", "linear multistep: Adams-Bashforth in sigma", "1 … 6", "no", "1"),
    "dpmpp_2m": ("DpmPp2M", "DPM-Solver++(2M) (Lu et al. 2022)", "2", "no", "1"),
    "dpmpp_2m_sde": ("DpmPp2MSde", "DPM-Solver++(2M) of the reverse SDE (Lu et al. 2022)", "1", "eta > 0", "1"),
    "dpmpp_sde": ("DpmPpSde", "DPM-Solver++ of the reverse SDE, single step (k-diffusion)", "1", "eta > 0", "2"),
    "unipc": ("UniPc", "UniPC predictor and corrector (Zhao et al. 2023)", "2 … 4", "no", "1"),
    "edm": ("Edm", "Heun with churn (Karras et al. 2022)", "2", "s_churn > 0", "2"),
}

_FLOW_SCHEDULERS = {
    "flow_euler": ("FlowEuler", "Euler on a flow (Liu et al. 2023)", "1", "no", "1"),
    "flow_midpoint": ("FlowMidpoint", "the midpoint method on a flow", "2", "no", "2"),
    "flow_heun": ("FlowHeun", "Heun on a flow", "2", "no", "2"),
    "flow_dpmpp_2m": ("FlowDpmPp2M", "DPM-Solver++(2M) on a flow (Lu et al. 2022)", "2", "no", "1"),
    "flow_euler_ancestral": (
        "FlowEulerAncestral",
        "Euler on a flow with fresh noise at every step",
        "1",
        "eta > 0",
        "1",
    ),
    "flow_edm": ("FlowEdm", "Heun with churn on a flow (Karras et al. 2022)", "2", "s_churn > 0", "2"),
}


@hookimpl
def emnist_diff_schedulers() -> Iterable[SchedulerSpec]:
    for name, (cls, summary, order, noise, evaluations) in _SCHEDULERS.items():
        yield SchedulerSpec(
            name=name,
            factory=f"{__name__}.{name}:{cls}",
            summary=summary,
            order=order,
            noise=noise,
            evaluations=evaluations,
            default=name == "ddim",
        )
    for name, (cls, summary, order, noise, evaluations) in _FLOW_SCHEDULERS.items():
        yield SchedulerSpec(
            name=name,
            factory=f"{__name__}.{name}:{cls}",
            summary=summary,
            order=order,
            noise=noise,
            evaluations=evaluations,
            process="flow",
            predictions=("flow", "sample"),
        )
