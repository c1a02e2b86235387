"""The built-ins, registered through the same door as a third party's. Hook implementations only: no torch."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import (
    BackendSpec,
    CommandSpec,
    DatasetSpec,
    DenoiserSpec,
    DriftSpec,
    ForceSpec,
    PlotSpec,
    PresetSpec,
    SchedulerSpec,
    SinkSpec,
)

_HERE = "emnist_diff_plugins"


_FORCES = {
    "none": ("NoForce", "adds nothing", ("default",)),
    "drift_noise": ("DriftNoise", "white noise in score space: sigma · N(0, 1)", ()),
    "attract_class": ("AttractClass", "pulls toward a class: strength · F(target)", ("attract",)),
    "repel_class": ("RepelClass", "pushes away from a class: −strength · F(target)", ("repel",)),
    "blend_two": ("BlendTwo", "mixes two classes: w_a F(a) + w_b F(b)", ()),
    "subtract_two": ("SubtractTwo", "one class minus another: w_pos F(a) − w_neg F(b)", ()),
    "weighted_multi": ("WeightedMulti", "a weighted sum of many classes: Σ w_c F(c)", ()),
    "switch_two": ("SwitchTwo", "one class first, then another", ()),
    "cycle_classes": ("CycleClasses", "one class after another, round and round", ()),
    "oscillate_two": ("OscillateTwo", "two classes take turns: sin φ F(a) + cos φ F(b)", ()),
    "ramp_attract": ("RampAttract", "attraction that grows: strength · frac^power · F(target)", ()),
    "user_schedule": ("UserSchedule", "class weights from a table over time", ()),
    "user_custom": ("UserCustom", "a Python function of predictions and step", ()),
}

_DRIFTS = {
    "none": ("NoDrift", "leaves the state as it is", ()),
    "default": ("DefaultDrift", "decay toward zero, then white noise: x (1 − decay) + noise_scale · N", ("noise",)),
    "time_scaled": ("TimeScaled", "late noise: noise_scale · step/steps · N", ("late_noise",)),
    "inverse_time_scaled": ("InverseTimeScaled", "early noise: noise_scale · (1 − step/steps) · N", ("early_noise",)),
    "oscillatory": ("Oscillatory", "noise that comes and goes: noise_scale · sin(2π cycles step/steps) · N", ()),
    "decay_only": ("DecayOnly", "decay toward zero: x (1 − decay)", ("decay",)),
    "clamp": ("Clamp", "bounds on every element of the state", ()),
    "normalize": ("Normalize", "states of one standard deviation or norm, each sample by itself", ()),
    "user_custom": ("UserCustom", "a Python function of state and step", ()),
}


@hookimpl
def emnist_diff_forces() -> Iterable[ForceSpec]:
    for name, (cls, summary, aliases) in _FORCES.items():
        yield ForceSpec(name=name, factory=f"{_HERE}.forces.{name}:{cls}", summary=summary, aliases=aliases)


@hookimpl
def emnist_diff_drifts() -> Iterable[DriftSpec]:
    for name, (cls, summary, aliases) in _DRIFTS.items():
        yield DriftSpec(name=name, factory=f"{_HERE}.drifts.{name}:{cls}", summary=summary, aliases=aliases)


_PRESETS = {
    "null_wander": ("NullWander", "a walk without a class: noise on the unconditional prediction"),
    "attract_class": ("AttractClassPreset", "attraction to a class"),
    "repel_class": ("RepelClassPreset", "anything but a class"),
    "blend": ("Blend", "a mixture of two classes"),
    "subtract": ("Subtract", "one class minus another"),
    "oscillate": ("Oscillate", "two classes that take turns, smoothly"),
    "competitive": ("Competitive", "classes that pull at once"),
    "rotating_all": ("RotatingAll", "every class in turn"),
    "crystallize": ("Crystallize", "one class first, then another"),
    "chaos": ("Chaos", "noise and every class in turn"),
    "ramp_to_class": ("RampToClass", "attraction that grows"),
    "weighted_multi": ("WeightedMultiPreset", "a weighted sum of many classes"),
}


@hookimpl
def emnist_diff_presets() -> Iterable[PresetSpec]:
    for name, (cls, summary) in _PRESETS.items():
        yield PresetSpec(name=name, factory=f"{_HERE}.presets.{name}:{cls}", summary=summary)


_SCHEDULERS = {
    # class, summary, order, noise, looks a step
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
    "flow_euler": ("FlowEuler", "Euler on a flow (Liu et al. 2023)", "1", "1"),
    "flow_midpoint": ("FlowMidpoint", "the midpoint method on a flow", "2", "2"),
    "flow_heun": ("FlowHeun", "Heun on a flow", "2", "2"),
    "flow_dpmpp_2m": ("FlowDpmPp2M", "DPM-Solver++(2M) on a flow (Lu et al. 2022)", "2", "1"),
}


@hookimpl
def emnist_diff_schedulers() -> Iterable[SchedulerSpec]:
    for name, (cls, summary, order, noise, looks) in _SCHEDULERS.items():
        yield SchedulerSpec(
            name=name,
            factory=f"{_HERE}.schedulers.{name}:{cls}",
            summary=summary,
            order=order,
            noise=noise,
            evaluations=looks,
        )
    for name, (cls, summary, order, looks) in _FLOW_SCHEDULERS.items():
        yield SchedulerSpec(
            name=name,
            factory=f"{_HERE}.schedulers.{name}:{cls}",
            summary=summary,
            order=order,
            noise="no",
            evaluations=looks,
            process="flow",
            predictions=("flow", "sample"),
        )


_SINKS = {
    # class, summary, flag, whether a run that names none has it
    "hdf5": ("Hdf5Sink", "the full trajectory in one HDF5 file", "", True),
    "grid": ("GridSink", "two PNGs: the final samples, and a few denoising strips", "", True),
    "frames": ("FramesSink", "a picture of every state: frames/v000_f0000.png", "frames", False),
    "deltas": ("DeltasSink", "differences of consecutive frames: deltas/v000_d0001.npy", "deltas", False),
    "latents": ("LatentsSink", "every state: latents/v000_t0999.npy", "latents", False),
    "video": ("VideoSink", "each sample as an MP4, GIF or WebP: videos/v000.mp4", "video", False),
    "strip": ("StripSink", "each sample from noise to image in one picture: strips/v000.png", "", False),
    "npz": ("NpzSink", "each sample's arrays in one file: npz/v000.npz", "", False),
    "metadata": ("MetadataSink", "metadata.json and index.json", "meta", False),
}


@hookimpl
def emnist_diff_sinks() -> Iterable[SinkSpec]:
    for name, (cls, summary, flag, default) in _SINKS.items():
        yield SinkSpec(name=name, factory=f"{_HERE}.sinks.{name}:{cls}", summary=summary, flag=flag, default=default)
    yield SinkSpec(
        name="metrics",
        factory=f"{_HERE}.metrics.sink:MetricsSink",
        summary="numbers of every step and sample: metrics/video_metrics.csv, step_metrics.csv",
        flag="metrics",
    )


@hookimpl
def emnist_diff_denoisers() -> Iterable[DenoiserSpec]:
    yield DenoiserSpec(
        name="unet2d",
        factory=f"{_HERE}.denoisers.unet2d:UNet2D",
        summary="class-conditional diffusers UNet2DModel with a null class",
        shipped=f"{_HERE}:checkpoints/emnist-handwritten.safetensors",
    )
    yield DenoiserSpec(
        name="gaussian-mixture",
        factory=f"{_HERE}.denoisers.gaussian_mixture:GaussianMixture",
        summary="the exact denoiser of a class-conditional Gaussian mixture; needs no weights",
        aliases=("gaussian_mixture",),
        needs_weights=False,
    )


@hookimpl
def emnist_diff_datasets() -> Iterable[DatasetSpec]:
    yield DatasetSpec(
        name="emnist", factory=f"{_HERE}.datasets.emnist:Emnist", summary="EMNIST in its official IDX files"
    )
    yield DatasetSpec(name="mnist", factory=f"{_HERE}.datasets.mnist:Mnist", summary="MNIST in its original IDX files")
    yield DatasetSpec(
        name="folder", factory=f"{_HERE}.datasets.folder:Folder", summary="a folder of images, one subfolder a class"
    )


@hookimpl
def emnist_diff_commands() -> Iterable[CommandSpec]:
    yield CommandSpec(
        name="train", factory=f"{_HERE}.training.command:app", summary="Train a denoiser on labelled images"
    )
    yield CommandSpec(
        name="checkpoint",
        factory=f"{_HERE}.denoisers.command:app",
        summary="Look into checkpoints, and convert legacy ones",
    )
    yield CommandSpec(
        name="export",
        factory=f"{_HERE}.sinks.export:app",
        summary="Make pictures, videos and arrays from a trajectory file",
    )
    yield CommandSpec(
        name="plot", factory=f"{_HERE}.plots.commands:plot_app", summary="Draw what trajectory files hold"
    )
    yield CommandSpec(
        name="report", factory=f"{_HERE}.plots.commands:report_app", summary="Write a page about a recorded run"
    )
    yield CommandSpec(
        name="compare", factory=f"{_HERE}.plots.commands:compare_app", summary="Write a page about two or more runs"
    )
    yield CommandSpec(
        name="metrics",
        factory=f"{_HERE}.metrics.command:app",
        summary="Measure every step and every sample of trajectory files",
    )
    yield CommandSpec(
        name="attribution",
        factory=f"{_HERE}.analysis.attribution_command:app",
        summary="Show where in the picture each force acts; needs matplotlib",
    )
    yield CommandSpec(
        name="whatif",
        factory=f"{_HERE}.analysis.whatif_command:app",
        summary="Make samples again without a force, and show the difference; needs matplotlib",
    )
    yield CommandSpec(
        name="bench",
        factory=f"{_HERE}.benching.command:app",
        summary="Measure how fast this machine evaluates a network, and recommend settings",
    )


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
    "class_grid": ("ClassGrid", "the finished images, by class"),
    "run_distance": ("RunDistance", "how far apart two runs of the same samples are, over time"),
}


@hookimpl
def emnist_diff_plots() -> Iterable[PlotSpec]:
    yield PlotSpec(
        name="schedules",
        factory=f"{_HERE}.analysis.schedules:SchedulesPlot",
        summary="weights and scheduled settings of a run over time; needs matplotlib",
    )
    for name, (cls, summary) in _PLOTS.items():
        yield PlotSpec(name=name, factory=f"{_HERE}.plots.{name}:{cls}", summary=summary, of="trajectories")


_BACKENDS = {
    "eager": BackendSpec(
        name="eager",
        factory=f"{_HERE}.backends.eager:Eager",
        summary="torch without a compiler: packed weights and parallel streams on a CPU, little set-up",
        devices=("cpu", "cuda", "mps"),
        precisions=("fp32", "bf16", "fp16"),
    ),
    "compile": BackendSpec(
        name="compile",
        factory=f"{_HERE}.backends.compile:Compile",
        summary="the network compiled by torch and a C++ compiler, on a CPU",
        devices=("cpu",),
        precisions=("fp32", "bf16"),
        merit=-10,  # no faster than eager where that knows the network
    ),
    "cuda_graphs": BackendSpec(
        name="cuda_graphs",
        factory=f"{_HERE}.backends.cuda_graphs:CudaGraphs",
        summary="the network's kernels recorded once and launched as one, on an NVIDIA GPU",
        devices=("cuda",),
        precisions=("fp32", "bf16", "fp16"),
        worth=2000,
        merit=30,
    ),
    "openvino": BackendSpec(
        name="openvino",
        factory=f"{_HERE}.backends.openvino:OpenVino",
        summary="the network as a graph compiled by OpenVINO, on a CPU",
        requires=("openvino",),
        extra="openvino",
        devices=("cpu",),
        precisions=("fp32", "bf16"),
        worth=5000,
        merit=20,
        rows=64,
    ),
}


@hookimpl
def emnist_diff_backends() -> Iterable[BackendSpec]:
    yield from _BACKENDS.values()
