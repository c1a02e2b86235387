"""Backends, which evaluate networks: one file each."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff_plugins.contract import BackendSpec

_BACKENDS = {
    "eager": BackendSpec(
        name="eager",
        factory=f"{__name__}.eager:Eager",
        summary="torch without a compiler: packed weights and parallel streams on a CPU, little set-up",
        devices=("cpu", "cuda", "mps"),
        precisions=("fp32", "bf16", "fp16"),
    ),
    "compile": BackendSpec(
        name="compile",
        factory=f"{__name__}.compile:Compile",
        summary="the network compiled by torch and a C++ compiler, on a CPU",
        devices=("cpu",),
        precisions=("fp32", "bf16"),
        priority=-10,  # no faster than eager where that knows the network
    ),
    "cuda_graphs": BackendSpec(
        name="cuda_graphs",
        factory=f"{__name__}.cuda_graphs:CudaGraphs",
        summary="the network's kernels recorded once and launched as one, on an NVIDIA GPU",
        devices=("cuda",),
        precisions=("fp32", "bf16", "fp16"),
        min_rows=2000,
        priority=30,
    ),
    "openvino": BackendSpec(
        name="openvino",
        factory=f"{__name__}.openvino:OpenVino",
        summary="the network as a graph compiled by OpenVINO, on a CPU",
        requires=("openvino",),
        extra="openvino",
        devices=("cpu",),
        precisions=("fp32", "bf16"),
        min_rows=5000,
        priority=20,
        max_rows_cpu=64,
    ),
}


@hookimpl
def emnist_diff_backends() -> Iterable[BackendSpec]:
    yield from _BACKENDS.values()
