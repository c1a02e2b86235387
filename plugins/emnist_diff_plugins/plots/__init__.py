"""Pictures of recorded runs: numbers from trajectory files, drawn by matplotlib.

A plot is an attrs class in a module of its own, registered by a `PlotSpec` with ``of="trajectories"``; see `plot.Plot`
for what it has to know. Numbers that several plots need are in `runs`, drawing that they share is in `panels`.
"""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_plugins.contract import PlotSpec

_PLOTS = {
    "latent_l2_per_step": ("LatentL2PerStep", "how far each step moves the state"),
    "pixel_l2_per_step": ("PixelL2PerStep", "how much each step changes the picture"),
    "schedule_overlay": ("ScheduleOverlay", "signal power and noise of each step"),
    "generation_times": ("GenerationTimes", "seconds a sample"),
    "final_image_stats": ("FinalImageStats", "mean, deviation and range of the finished images"),
    "cumulative_l2": ("CumulativeL2", "the length of the path up to each step"),
    "l2_velocity": ("L2Velocity", "whether steps become longer or shorter"),
    "video_summary": ("VideoSummary", "path length, time and memory of each sample"),
    "inference_dashboard": ("InferenceDashboard", "nine panels that say how a run went"),
    "force_ledger": ("ForceLedger", "what each force adds to the prediction, over time"),
    "basin_trace": ("BasinTrace", "which class the estimate of the image leans to, over time"),
    "weights": ("Weights", "the weight of each force over time"),
    "trajectories_pca": ("TrajectoriesPca", "paths of samples in the plane that shows most of them"),
    "denoising_strips": ("DenoisingStrips", "samples from noise to image"),
    "evolution_strip": ("EvolutionStrip", "samples from noise to image, with what is attended to"),
    "token_maps": ("TokenMaps", "which places attend to which token, over time and in all"),
    "token_dominance": ("TokenDominance", "how much attention each token gets"),
    "self_attention": ("SelfAttention", "where places attend to, over time"),
    "attention_entropy": ("AttentionEntropy", "how spread attention is, by layer, over time"),
    "class_grid": ("ClassGrid", "the finished images, by class"),
    "run_distance": ("RunDistance", "how far apart two runs of the same samples are, over time"),
}


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield PlotSpec


@hookimpl
def emnist_diff_plots() -> Iterable[PlotSpec]:
    for name, (cls, summary) in _PLOTS.items():
        yield PlotSpec(name=name, factory=f"{__name__}.{name}:{cls}", summary=summary, of="trajectories")
