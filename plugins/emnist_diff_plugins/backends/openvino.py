"""OpenVINO: the network as a compiled graph, on CPUs."""

from __future__ import annotations

import functools
import importlib.util
import os
import queue
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff import __version__
from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, PluginError, RunFailed
from emnist_diff.evaluators import Evaluator, Precision
from emnist_diff.events import get_logger
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.backends import _graph
from emnist_diff_plugins.backends._cache import Cache, key_of
from emnist_diff_plugins.backends._identity import fingerprints_of, source_of
from emnist_diff_plugins.backends._silence import silence
from emnist_diff_plugins.backends._streams import Cut, Streams
from emnist_diff_plugins.capabilities import Exportable
from emnist_diff_plugins.containers.userfolder import user_cache
from emnist_diff_plugins.contract import Workload

if TYPE_CHECKING:
    import openvino

log = get_logger()

TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "bf16": 0.25}
"""The largest relative error of an exported network, by precision; rounding stays far below it."""

_INSTALL = "pip install 'emnist-diff[openvino]'"

_FORKED = (
    "OpenVINO cannot continue in a process that was forked after its first use — start processes with 'spawn', or use "
    "--backend eager"
)


@attrs.frozen
class OpenVino:
    """The network compiled by OpenVINO, several parts of a call at once, each on its own share of the threads.

    Example: ``--backend openvino --precision bf16``
    """

    cache: bool = attrs.field(
        default=True, metadata={"help": "keep converted networks in the user's cache folder for the next run"}
    )

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """`contract.Backend`."""
        if importlib.util.find_spec("openvino") is None:
            return f"openvino is not installed — {_INSTALL}"
        if _left_behind():
            return _FORKED
        if work.device.type != "cpu":
            return f"it serves cpu, not {work.device.type} — use --device cpu"
        if work.precision not in TOLERANCE:
            return f"it computes in {' and '.join(TOLERANCE)}, not {work.precision}"
        if not isinstance(denoiser, Exportable):
            return f"{type(denoiser).__name__} offers no network to export — use --backend eager"
        return None

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """`contract.Backend`. Sets up the network's first variant; others are set up at their first evaluation.

        Raises `ConfigError` where it refuses or the processor has no arithmetic of the precision, `PluginError` when
        the network cannot be exported.
        """
        if reason := self.refusal(denoiser, work):
            raise ConfigError(f"backend 'openvino' cannot serve here: {reason}")
        folder = user_cache() if self.cache and work.identity else None
        evaluator = _Compiled(denoiser, work, None if folder is None else Cache(folder / "openvino"))
        evaluator.variant("")
        return evaluator


@functools.cache
def _core() -> Any:
    """OpenVINO's core object, one for the life of the process.

    With its first network OpenVINO gives the calling thread a stack for signals, and frees it at the end. Freed from
    another thread, the stack would stay in use, and the next Ctrl-C would end in a segmentation fault.
    """
    import openvino as ov

    global _process
    _process = os.getpid()
    return ov.Core()


_process: int | None = None
"""The process in which OpenVINO has computed, by its number; its threads exist in no other."""


def _left_behind() -> bool:
    """Whether this process is a fork of one where OpenVINO has computed, so that it would wait for missing threads."""
    return _process is not None and _process != os.getpid()


class _Compiled:
    """`evaluators.Evaluator` over one compiled network a variant."""

    def __init__(self, denoiser: Denoiser, work: Workload, cache: Cache | None) -> None:
        self.denoiser, self.work, self.cache = denoiser, work, cache
        self.cut, self.core = Cut.of(work.rows, work.threads), _core()
        self.rows, self.streams = self.cut.size, Streams(self.cut)
        self.networks: dict[str, _Requests] = {}
        if work.precision == "bf16" and "BF16" not in self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ConfigError("backend 'openvino': this processor has no bf16 arithmetic — use --precision fp32")

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """`evaluators.Evaluator`. Raises `RunFailed` in a process that was forked."""
        if _left_behind():
            raise RunFailed(f"backend 'openvino': {_FORKED}")
        return self.streams(self.variant(conds.variant), x, t, conds.index)

    def variant(self, name: str) -> _Requests:
        """The network's variant, set up."""
        if name not in self.networks:
            self.networks[name] = self._network(name)
        return self.networks[name]

    def _network(self, variant: str) -> _Requests:
        assert isinstance(self.denoiser, Exportable)  # `refusal` has checked it
        network = self.denoiser.module(variant)
        example = _example(self.cut.size, self.denoiser)
        key = _key(network, variant, example, self.work.identity)
        stored = self.cache.get(key) if self.cache is not None else None
        if stored is not None:
            try:
                requests = self._requests(stored, example)
                if self._off(requests, network) <= TOLERANCE[self.work.precision]:
                    return requests
            except (RuntimeError, ValueError):  # the entry is whole, but this version cannot read it
                pass
            log.debug("backend.cache_unreadable", backend="openvino", key=key)
        try:
            graph = _exported(_graph.rewritten(network), example)
            requests = self._requests(graph, example)
        except Exception as error:  # torch, the converter and the compiler raise errors of many types
            reason = " ".join(str(error).split())[:300]
            raise PluginError(f"backend 'openvino' cannot take this network: {reason} — use --backend eager") from error
        if (off := self._off(requests, network)) > TOLERANCE[self.work.precision]:
            raise PluginError(
                f"backend 'openvino': the exported network is not the network, relative error {off:.2g} in "
                f"{self.work.precision} — use --backend eager"
            )
        if self.cache is not None:
            self.cache.put(key, graph)
        return requests

    def _off(self, requests: _Requests, network: nn.Module) -> float:
        """The relative error on other inputs than the export's, because an export fixes branches on values."""
        with torch.inference_mode():
            other = _example(self.cut.size, self.denoiser, seed=1)
            return _relative(requests(*other), network(*other))

    def _requests(self, graph: list[bytes], example: tuple[Tensor, Tensor, Tensor]) -> _Requests:
        """The graph compiled for this machine, for as many threads as the cut has streams."""
        import numpy as np
        import openvino as ov
        from openvino.properties import hint, inference_num_threads, num_streams

        description, weights = graph
        model = self.core.read_model(description, ov.Tensor(np.frombuffer(weights, dtype=np.uint8)))
        exact = self.work.precision == "fp32"
        settings = {
            # Both, for where the processor has bf16 it is the default.
            hint.inference_precision: ov.Type.f32 if exact else ov.Type.bf16,
            hint.execution_mode: hint.ExecutionMode.ACCURACY if exact else hint.ExecutionMode.PERFORMANCE,
            num_streams: self.cut.streams,
            inference_num_threads: self.cut.streams * self.cut.threads,
            hint.enable_cpu_pinning: False,  # several processes would be pinned to the same cores
        }
        return _Requests(self.core.compile_model(model, "CPU", settings), self.cut.streams, example)


class _Requests:
    """A compiled network, as a function that as many threads may call at once as there are requests."""

    def __init__(self, compiled: openvino.CompiledModel, count: int, example: tuple[Tensor, Tensor, Tensor]) -> None:
        self.free: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        for _ in range(count):
            self.free.put(_Request(compiled, example))

    def __call__(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """As the network, in calls of the rows that it was compiled for."""
        request = self.free.get()
        try:
            return request(x, t, index)
        finally:
            self.free.put(request)


class _Request:
    """One inference at a time, on buffers of its own."""

    def __init__(self, compiled: openvino.CompiledModel, example: tuple[Tensor, Tensor, Tensor]) -> None:
        import openvino as ov

        self.request = compiled.create_infer_request()
        self.inputs = [torch.empty(value.shape, dtype=value.dtype) for value in example]
        self.output = torch.empty(example[0].shape)
        for place, buffer in enumerate(self.inputs):
            self.request.set_input_tensor(place, ov.Tensor(buffer.numpy(), shared_memory=True))
        self.request.set_output_tensor(0, ov.Tensor(self.output.numpy(), shared_memory=True))

    def __call__(self, *values: Tensor) -> Tensor:
        for buffer, value in zip(self.inputs, values, strict=True):
            buffer.copy_(value)
        self.request.start_async()
        self.request.wait()
        return self.output.clone()


def _example(rows: int, denoiser: Denoiser, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x, t and index of a call: one seed is for the export, another for the check of what was exported."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, *denoiser.shape, generator=generator)
    t = 1.0 + 900.0 * torch.rand(rows, generator=generator)
    return x, t, torch.randint(len(denoiser.conditions.classes), (rows,), generator=generator)


def _exported(network: nn.Module, example: tuple[Tensor, Tensor, Tensor]) -> list[bytes]:
    """The network in OpenVINO's own format: description and float32 weights.

    It calls the frontend itself, because `openvino.convert_model`, which wraps it, sends telemetry.
    """
    import openvino as ov
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), silence():
        # `_network` checks the answer.
        traced = torch.jit.trace(network.eval(), example, check_trace=False)
        decoder = TorchScriptPythonDecoder(traced, example_input=example)  # outlives what is loaded from it
        frontend = FrontEndManager().load_by_framework("pytorch")
        loaded = frontend.load(decoder)
        for place, value in zip(loaded.get_inputs(), example, strict=True):
            loaded.set_partial_shape(place, ov.PartialShape(list(value.shape)))
        model = frontend.convert(loaded)
    with tempfile.TemporaryDirectory(prefix="emnist-diff-") as folder:
        ov.save_model(model, Path(folder) / "network.xml", compress_to_fp16=False)
        return [(Path(folder) / f"network.{kind}").read_bytes() for kind in ("xml", "bin")]


def _key(network: nn.Module, variant: str, example: tuple[Tensor, ...], identity: str) -> str:
    """The key of all that an exported network depends on: weights, structure, code, shapes and versions."""
    import openvino as ov

    shapes = [str(tuple(value.shape)) for value in example]
    versions = (ov.__version__, torch.__version__, __version__)
    return key_of(identity, variant, *fingerprints_of(network), source_of(_graph), *shapes, *versions)


def _relative(got: Tensor, truth: Tensor) -> float:
    """‖got − truth‖ / ‖truth‖; 0 where the network itself is not finite or answers zero."""
    error: Any = (got - truth).norm() / truth.norm()
    return float(error) if truth.isfinite().all() and truth.any() else 0.0
