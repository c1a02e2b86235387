"""CUDA graphs: a network's kernels recorded once and launched as one, on an NVIDIA GPU.

A small network's kernels finish before Python has launched the next one. A recorded graph launches all of them at once;
it reads and writes memory at fixed addresses, so inputs are copied in and the output is copied out.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.evaluators import Evaluator
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.backends._cast import DTYPES, Cast
from emnist_diff_plugins.backends._cuda import arithmetic
from emnist_diff_plugins.capabilities import Exportable
from emnist_diff_plugins.contract import Workload

WARM_UPS = 3
"""Calls before the recording, in which libraries choose their kernels and allocate what they keep."""


@attrs.frozen
class CudaGraphs:
    """The network as one CUDA graph, images channels last.

    Example: ``--backend cuda_graphs --precision bf16``
    """

    tf32: bool = attrs.field(
        default=False,
        metadata={"help": "in fp32, multiply with 10 bits of mantissa: faster, with errors near 1e-3"},
    )

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """`contract.Backend`."""
        if work.device.type != "cuda":
            return f"it serves cuda, not {work.device.type} — use --backend auto"
        if not torch.cuda.is_available():
            return "torch sees no GPU"
        if not isinstance(denoiser, Exportable):
            return f"{type(denoiser).__name__} offers no network to record — use --backend eager"
        if self.tf32 and work.precision != "fp32":
            return f"tf32 applies to fp32, not to {work.precision} — use --precision fp32"
        if work.precision == "bf16" and not torch.cuda.is_bf16_supported():
            return "this GPU has no bf16 arithmetic — use --precision fp16"
        return None

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """`contract.Backend`. Records the network itself; its variants are recorded at their first evaluation.

        Raises `ConfigError` where it refuses, `PluginError` when the network cannot be recorded, and torch's own
        `OutOfMemoryError`.
        """
        if reason := self.refusal(denoiser, work):
            raise ConfigError(f"backend 'cuda_graphs' cannot serve here: {reason}")
        assert isinstance(denoiser, Exportable)  # `refusal` has checked it
        evaluator = _Recorded(denoiser, denoiser.shape, work, self.tf32)
        evaluator.variant("")
        return evaluator


class _Recorded:
    """`evaluators.Evaluator` over one graph a variant."""

    def __init__(self, denoiser: Exportable, shape: tuple[int, ...], work: Workload, tf32: bool) -> None:
        self.denoiser, self.shape, self.work, self.tf32 = denoiser, shape, work, tf32
        self.rows = work.rows
        self.graphs: dict[str, Recording] = {}

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """`evaluators.Evaluator`."""
        graph, rows = self.variant(conds.variant), self.work.rows
        out = torch.empty(x.shape, device=x.device)
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            graph.inputs[0].copy_(x[part])
            graph.inputs[1].copy_(t[part])
            graph.inputs[2].copy_(conds.index[part])
            graph.replay()
            out[part].copy_(graph.output)
        return out

    def variant(self, name: str) -> Recording:
        """The network's variant, recorded."""
        if name not in self.graphs:
            network = Cast(self.denoiser.module(name), DTYPES[self.work.precision])
            try:
                with arithmetic(self.tf32):
                    self.graphs[name] = Recording(network, self.work.rows, self.shape, self.work.device)
            except torch.cuda.OutOfMemoryError:
                raise  # the run tries again with fewer rows
            except RuntimeError as error:
                raise PluginError(
                    f"backend 'cuda_graphs' cannot record this network: {' '.join(str(error).split())[:300]} — "
                    "use --backend eager"
                ) from error
        return self.graphs[name]


class Recording:
    """A network's kernels for one number of rows.

    inputs: x (rows, *shape) and t (rows,) float32, index (rows,) int64.  output: (rows, *shape) float32. They stay
    where they are: fill the inputs, `replay`, copy the output, all on one stream.
    """

    def __init__(self, network: torch.nn.Module, rows: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.network = network  # the kernels read its weights where they lie
        self.inputs = (
            torch.zeros(rows, *shape, device=device),
            torch.zeros(rows, device=device),
            torch.zeros(rows, dtype=torch.int64, device=device),
        )
        self.graph = torch.cuda.CUDAGraph()
        # Not in inference mode: its tensors could not be filled outside of it.
        with torch.cuda.device(device), torch.inference_mode(False), torch.no_grad():
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UPS):
                    network(*self.inputs)
            torch.cuda.current_stream().wait_stream(beside)
            with torch.cuda.graph(self.graph):
                self.output: Tensor = network(*self.inputs)

    def replay(self) -> None:
        """Compute `output` from `inputs`, as work queued on the current stream."""
        self.graph.replay()
