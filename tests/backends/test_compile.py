"""Networks compiled ahead of time: what is refused, what is kept for the next run, and one that really is compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff_plugins.backends import compile as backend
from emnist_diff_plugins.backends.compile import Compile
from emnist_diff_plugins.contract import Workload
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.spaces import ClassSpace

CPU = torch.device("cpu")

needed = pytest.mark.skipif(
    backend.compiler() is None or backend._release(torch.__version__) < backend.NEEDS,
    reason="no compiler, or an old torch",
)


class Network(torch.nn.Module):
    """One convolution, times something of the class, plus something of the time."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(2, 2, 3, padding=1)
        self.scale = torch.nn.Parameter(factor * torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        out: Tensor = self.conv(x) * self.scale[index][:, None, None, None] + t.to(x.dtype)[:, None, None, None] / 1000
        return out


class Holding:
    """A denoiser, as far as a backend asks it."""

    shape = (2, 64, 64)
    conditions = ClassSpace(("A", "B", "C"))

    def __init__(self) -> None:
        self.networks = {"": Network(), "twice": Network(2.0)}

    def module(self, variant: str = "") -> torch.nn.Module:
        return self.networks[variant].eval().requires_grad_(False)


def asked(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(rows, *Holding.shape, generator=torch.Generator().manual_seed(rows))
    return x, torch.linspace(0.0, 900.0, rows), torch.arange(rows) % 3


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMNIST_DIFF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compile"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Compiling replaced: a package is a number, and loading it gives the network of that number."""
    made: list[Any] = []

    def compiling(network: Any, example: Any, threads: int) -> bytes:
        made.append(network)
        return bytes([len(made) - 1])

    def loading(package: bytes) -> Callable[..., Tensor]:
        if package == b"of another torch":
            raise RuntimeError("cannot load")
        network: Callable[..., Tensor] = made[package[0]]
        return network

    monkeypatch.setattr(backend, "_compiled", compiling)
    monkeypatch.setattr(backend, "_loaded", loading)
    monkeypatch.setattr(backend, "compiler", lambda: "g++")
    return made


def test_what_it_refuses(monkeypatch):
    monkeypatch.setattr(backend, "compiler", lambda: "g++")
    holding: Any = Holding()
    assert Compile().refusal(holding, Workload(2, CPU)) is None
    assert "--device cpu" in (Compile().refusal(holding, Workload(2, torch.device("cuda"))) or "")
    assert "not fp16" in (Compile().refusal(holding, Workload(2, CPU, "fp16")) or "")
    assert "--backend eager" in (Compile().refusal(GaussianMixture().denoiser(), Workload(2, CPU)) or "")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    assert "torch 2.6 or newer, and this is 2.5.1" in (Compile().refusal(holding, Workload(2, CPU)) or "")


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(backend, "compiler", lambda: None)
    with pytest.raises(
        ConfigError, match=r"backend 'compile' cannot serve here: there is no C\+\+ compiler — install g\+\+"
    ):
        Compile().evaluator(Holding(), Workload(2, CPU))  # type: ignore[arg-type]


def test_the_compiler_is_the_one_that_torch_would_call(tmp_path):
    for name in ("c++", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    path = {"PATH": str(tmp_path)}
    assert backend.compiler(path, windows=False) == str(tmp_path / "c++")
    assert backend.compiler({**path, "CXX": "mine"}, windows=False) == str(tmp_path / "mine")
    assert backend.compiler({**path, "CXX": "gone"}, windows=False) is None
    assert backend.compiler(path, windows=True) is None


def test_each_variant_is_compiled_when_it_is_asked_for(folder, compiled):
    holding: Any = Holding()
    x, t, index = asked(6)
    evaluate = Compile().evaluator(holding, Workload(2, CPU, identity="these"))
    assert len(compiled) == 1
    assert torch.allclose(evaluate(x, t, RowConditions(index)), holding.module()(x, t, index), atol=1e-6)
    for _ in range(2):
        twice = evaluate(x, t, RowConditions(index, "twice"))
        assert torch.allclose(twice, holding.module("twice")(x, t, index), atol=1e-6)
    assert len(compiled) == 2


def test_the_next_run_loads_what_this_one_has_compiled(folder, compiled):
    holding: Any = Holding()
    first = Compile().evaluator(holding, Workload(2, CPU, identity="these"))
    next_ = Compile().evaluator(holding, Workload(2, CPU, identity="these"))
    assert len(compiled) == 1
    x, t, index = asked(2)
    assert torch.equal(first(x, t, RowConditions(index)), next_(x, t, RowConditions(index)))
    for work in (
        Workload(2, CPU, identity="others"),
        Workload(3, CPU, identity="these"),
        Workload(2, CPU, "bf16", identity="these"),
        Workload(2, CPU, identity="these", threads=5),
    ):
        before = len(compiled)
        Compile().evaluator(holding, work)
        assert len(compiled) == before + 1


def test_code_for_another_processor_is_not_loaded(folder, compiled, monkeypatch):
    holding: Any = Holding()
    Compile().evaluator(holding, Workload(2, CPU, identity="these"))
    monkeypatch.setattr(backend, "_processor", lambda: "another")
    Compile().evaluator(holding, Workload(2, CPU, identity="these"))
    assert len(compiled) == 2


@pytest.mark.parametrize(("settings", "identity"), [({"cache": False}, "these"), ({}, "")])
def test_nothing_is_kept_unless_asked_and_known(folder, compiled, settings, identity):
    Compile(**settings).evaluator(Holding(), Workload(2, CPU, identity=identity))  # type: ignore[arg-type]
    assert not folder.exists()


def test_what_cannot_be_loaded_is_compiled_anew(folder, compiled, monkeypatch):
    holding: Any = Holding()
    Compile().evaluator(holding, Workload(2, CPU, identity="these"))
    monkeypatch.setattr(backend.Cache, "get", lambda self, key: [b"of another torch"])
    Compile().evaluator(holding, Workload(2, CPU, identity="these"))
    assert len(compiled) == 2


def test_what_cannot_be_compiled_is_an_error_with_a_way_out(folder, compiled, monkeypatch):
    def failing(*arguments: Any) -> bytes:
        raise RuntimeError("C++ compile error\nof many lines")

    monkeypatch.setattr(backend, "_compiled", failing)
    with pytest.raises(
        PluginError, match=r"cannot take this network: C\+\+ compile error of many lines — use --backend eager"
    ):
        Compile().evaluator(Holding(), Workload(2, CPU))  # type: ignore[arg-type]


def test_a_compiled_network_that_is_another_one_is_not_used(folder, compiled, monkeypatch):
    monkeypatch.setattr(backend, "_loaded", lambda package: Network(3.0))
    with pytest.raises(PluginError, match=r"is not the network, relative error .* in fp32 — use --backend eager"):
        Compile().evaluator(Holding(), Workload(2, CPU, identity="these"))  # type: ignore[arg-type]
    assert not folder.exists()


@needed
def test_a_network_is_compiled_and_loaded_again(folder, monkeypatch):
    """By the compiler itself, for two threads; the next run has the same bits."""
    holding: Any = Holding()
    work = Workload(4, CPU, identity="these", threads=2)
    x, t, index = asked(8)
    evaluate = Compile().evaluator(holding, work)
    got = evaluate(x, t, RowConditions(index))
    assert torch.allclose(got, holding.module()(x, t, index), atol=1e-5)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(evaluate(x[order], t[order], RowConditions(index[order])), got[order])
    monkeypatch.setattr(backend, "_compiled", None)  # not called again
    assert torch.equal(Compile().evaluator(holding, work)(x, t, RowConditions(index)), got)
