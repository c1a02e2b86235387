"""Sinks: what records a run."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import SinkSpec
from emnist_diff_plugins.contract import FormSpec
from emnist_diff_trajectory.contract import ReaderSpec

_SINKS = {
    # class, summary, flag, whether a run that names none has it
    "hdf5": ("Hdf5Sink", "the full trajectory in one HDF5 file", "", True),
    "grid": ("GridSink", "two PNGs: the final samples, and a few denoising strips", "", True),
    "images": ("ImagesSink", "each final sample as a PNG: images/MODEL_000000_CLASS.png", "images", False),
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
        yield SinkSpec(name=name, factory=f"{__name__}.{name}:{cls}", summary=summary, flag=flag, default=default)


@hookimpl
def emnist_diff_readers() -> Iterable[ReaderSpec]:
    yield ReaderSpec(
        name="records", factory=f"{__name__}.earlier:RecordReader", summary="what metadata.json and other sinks keep"
    )


@hookimpl
def emnist_diff_forms() -> Iterable[FormSpec]:
    yield FormSpec(name="metadata", factory=f"{__name__}.earlier:MetadataForm", summary="the metadata.json of a run")
