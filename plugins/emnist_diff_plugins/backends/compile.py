"""AOTInductor: the network compiled to machine code by torch and a C++ compiler, on CPUs.

This is the compiler of `torch.compile`, used ahead of time: it writes one file, which the next run loads in a fraction
of a second, without tracing anything and without importing the compiler.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff import __version__
from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.evaluators import Evaluator, Precision
from emnist_diff.events import get_logger
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.backends import _cast, _graph
from emnist_diff_plugins.backends._cache import Cache, key_of
from emnist_diff_plugins.backends._cast import DTYPES, Cast
from emnist_diff_plugins.backends._identity import fingerprints_of, source_of
from emnist_diff_plugins.backends._streams import Cut, Network, Streams
from emnist_diff_plugins.capabilities import Exportable
from emnist_diff_plugins.containers.userfolder import user_cache
from emnist_diff_plugins.contract import Workload

log = get_logger()

TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-3, "bf16": 0.25}
"""The largest relative error of a compiled network, by precision; rounding stays far below it."""

NEEDS = (2, 6)
"""The first release of torch that writes compiled code to a package."""


@attrs.frozen
class Compile:
    """The network compiled by torch and a C++ compiler.

    Example: ``--backend compile --precision bf16``
    """

    cache: bool = attrs.field(
        default=True, metadata={"help": "keep compiled networks in the user's cache folder for the next run"}
    )

    def refusal(self, denoiser: Denoiser, work: Workload) -> str | None:
        """`contract.Backend`."""
        if work.device.type != "cpu":
            return f"it serves cpu, not {work.device.type} — use --device cpu"
        if work.precision not in TOLERANCE:
            return f"it computes in {' and '.join(TOLERANCE)}, not {work.precision}"
        if not isinstance(denoiser, Exportable):
            return f"{type(denoiser).__name__} offers no network to compile — use --backend eager"
        if _release(torch.__version__) < NEEDS:
            return f"it needs torch {NEEDS[0]}.{NEEDS[1]} or newer, and this is {torch.__version__}"
        if compiler() is None:
            return "there is no C++ compiler — install g++ or clang++, or name one in the environment as CXX"
        return None

    def evaluator(self, denoiser: Denoiser, work: Workload) -> Evaluator:
        """`contract.Backend`. Sets up the network itself; its variants are set up at their first evaluation.

        Raises `ConfigError` where it refuses, `PluginError` when the network cannot be compiled.
        """
        if reason := self.refusal(denoiser, work):
            raise ConfigError(f"backend 'compile' cannot serve here: {reason}")
        folder = user_cache() if self.cache and work.identity else None
        evaluator = _Compiled(denoiser, work, None if folder is None else Cache(folder / "compile"))
        evaluator.variant("")
        return evaluator


def compiler(environment: Mapping[str, str] = os.environ, windows: bool = sys.platform == "win32") -> str | None:
    """The C++ compiler that torch would call, or None."""
    if "CXX" in environment:
        return shutil.which(environment["CXX"], path=environment.get("PATH"))
    names = ("cl",) if windows else ("g++", "clang++", "c++")
    return next(filter(None, (shutil.which(name, path=environment.get("PATH")) for name in names)), None)


class _Compiled:
    """`evaluators.Evaluator` over one compiled network a variant."""

    def __init__(self, denoiser: Denoiser, work: Workload, cache: Cache | None) -> None:
        self.denoiser, self.work, self.cache = denoiser, work, cache
        # Torch holds Python's lock while it runs what it has loaded (its issue 197516): streams would wait in a row.
        self.cut = Cut.in_turn(work.rows, work.threads)
        self.rows, self.streams = self.cut.size, Streams(self.cut)
        self.networks: dict[str, Network] = {}

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """`evaluators.Evaluator`."""
        return self.streams(self.variant(conds.variant), x, t, conds.index)

    def variant(self, name: str) -> Network:
        """The network's variant, set up."""
        if name not in self.networks:
            self.networks[name] = self._network(name)
        return self.networks[name]

    def _network(self, variant: str) -> Any:
        """The loaded code, a function of x, t and index."""
        assert isinstance(self.denoiser, Exportable)  # `refusal` has checked it
        network, example = self.denoiser.module(variant), self._example()
        key = self._key(network, variant)
        stored = self.cache.get(key) if self.cache is not None else None
        if stored is not None:
            with suppress(RuntimeError, OSError):  # the entry is whole, but this torch or processor cannot run it
                run = _loaded(stored[0])
                if _off(run, network, example) <= TOLERANCE[self.work.precision]:
                    return run
        started = time.perf_counter()
        log.info("backend.compiling", backend="compile", rows=self.cut.size, precision=self.work.precision)
        try:
            package = _compiled(Cast(_graph.rewritten(network), DTYPES[self.work.precision]), example, self.cut.threads)
            run = _loaded(package)
            error = _off(run, network, example)
        except Exception as problem:  # torch and the compiler raise errors of many types
            raise PluginError(
                f"backend 'compile' cannot take this network: {' '.join(str(problem).split())[:300]} — "
                "use --backend eager"
            ) from problem
        log.info("backend.compiled", backend="compile", seconds=round(time.perf_counter() - started, 1))
        if not error <= TOLERANCE[self.work.precision]:
            raise PluginError(
                f"backend 'compile': the compiled network is not the network, relative error {error:.2g} in "
                f"{self.work.precision} — use --backend eager"
            )
        if self.cache is not None:
            self.cache.put(key, [package])
        return run

    def _key(self, network: nn.Module, variant: str) -> str:
        """The key of all that compiled code depends on: network, shapes, arithmetic, threads and processor."""
        work, cut = self.work, self.cut
        workload = f"{variant}/{self.denoiser.shape}/{cut.size}/{cut.threads}/{work.precision}"
        code = [source_of(module) for module in (_graph, _cast, sys.modules[__name__])]
        return key_of(
            work.identity, workload, torch.__version__, __version__, _processor(), *fingerprints_of(network), *code
        )

    def _example(self) -> tuple[Tensor, Tensor, Tensor]:
        """x, t and index of a call: the network is traced with them, and the compiled code checked."""
        rows = self.cut.size
        x = torch.randn(rows, *self.denoiser.shape, generator=torch.Generator().manual_seed(0))
        return x, torch.linspace(1.0, 900.0, rows), torch.arange(rows) % len(self.denoiser.conditions.classes)


def _off(run: Any, network: nn.Module, example: tuple[Tensor, Tensor, Tensor]) -> float:
    """The relative error of compiled code."""
    with torch.inference_mode():
        truth = network(*example)
        return float((run(*example) - truth).norm() / truth.norm().clamp(min=1e-30))


def _compiled(network: nn.Module, example: tuple[Tensor, Tensor, Tensor], threads: int) -> bytes:
    """The network as machine code for calls of this shape on that many threads, a ``.pt2`` package."""
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.utils import fresh_inductor_cache

    settings = {"freezing": True, "cpp.threads": threads}  # freezing: weights are constants, packed for oneDNN
    with tempfile.TemporaryDirectory(prefix="emnist-diff-") as folder, fresh_inductor_cache(), torch.no_grad():
        path = Path(folder) / "network.pt2"
        exported = torch.export.export(network.eval(), example)
        aoti_compile_and_package(exported, package_path=str(path), inductor_configs=settings)
        return path.read_bytes()


def _loaded(package: bytes) -> Any:
    """The code of a package, as a function that one thread calls at a time."""
    from torch._inductor.package import load_package  # type: ignore[attr-defined]  # torch re-exports it

    with tempfile.TemporaryDirectory(prefix="emnist-diff-") as folder:
        path = Path(folder) / "network.pt2"
        path.write_bytes(package)
        return load_package(str(path))


def _release(version: str) -> tuple[int, int]:
    """(2, 13) of ``2.13.0+cpu``."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _processor() -> str:
    """A description of the processor, so that no code compiled for another one is loaded."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        lines_kept = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
        return "\n".join([platform.machine(), *dict.fromkeys(lines_kept)])
    return f"{platform.machine()} {platform.processor()} {torch.backends.cpu.get_cpu_capability()}"
