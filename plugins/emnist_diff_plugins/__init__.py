"""The built-ins, registered through the same door as a third party's. Hook implementations only: no torch."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import (
    CommandSpec,
    DatasetSpec,
    DenoiserSpec,
    DriftSpec,
    ForceSpec,
    SchedulerSpec,
    SinkSpec,
)

_HERE = "emnist_diff_plugins"


@hookimpl
def emnist_diff_forces() -> Iterable[ForceSpec]:
    yield ForceSpec(
        name="attract_class",
        factory=f"{_HERE}.forces.attract_class:AttractClass",
        summary="pulls toward a class: strength · (e_target − e_null)",
    )
    yield ForceSpec(
        name="repel_class",
        factory=f"{_HERE}.forces.repel_class:RepelClass",
        summary="pushes away from a class: −strength · (e_target − e_null)",
    )


@hookimpl
def emnist_diff_drifts() -> Iterable[DriftSpec]:
    yield DriftSpec(name="none", factory=f"{_HERE}.drifts.none:NoDrift", summary="leaves the state as it is")
    yield DriftSpec(
        name="default",
        factory=f"{_HERE}.drifts.default:DefaultDrift",
        summary="decay toward zero, then white noise: x (1 − decay) + noise_scale · N",
    )


@hookimpl
def emnist_diff_schedulers() -> Iterable[SchedulerSpec]:
    yield SchedulerSpec(
        name="ddim",
        factory=f"{_HERE}.schedulers.ddim:Ddim",
        summary="DDIM (Song et al. 2021); deterministic at eta 0",
    )
    yield SchedulerSpec(
        name="ddpm",
        factory=f"{_HERE}.schedulers.ddpm:Ddpm",
        summary="DDPM ancestral sampling (Ho et al. 2020), at any number of steps",
    )


@hookimpl
def emnist_diff_sinks() -> Iterable[SinkSpec]:
    yield SinkSpec(
        name="hdf5",
        factory=f"{_HERE}.sinks.hdf5:Hdf5Sink",
        summary="the full trajectory in one HDF5 file",
        default=True,
    )
    yield SinkSpec(
        name="grid",
        factory=f"{_HERE}.sinks.grid:GridSink",
        summary="two PNGs: the final samples, and a few denoising strips",
        default=True,
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
