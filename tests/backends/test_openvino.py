"""The OpenVINO backend: what it refuses, what it keeps, and what it does not take for the network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn

from emnist_diff.conditions import RowConditions
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff_plugins.backends import _graph
from emnist_diff_plugins.backends import openvino as backend
from emnist_diff_plugins.backends._streams import Cut
from emnist_diff_plugins.backends.openvino import OpenVino
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.userfolder import VARIABLE
from emnist_diff_plugins.contract import Workload
from emnist_diff_plugins.denoisers.unet2d import UNet2D

needed = pytest.mark.usefixtures("openvino")
CPU = torch.device("cpu")


@pytest.fixture
def openvino() -> Any:
    return pytest.importorskip("openvino")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


def unet(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    family = UNet2D(
        sample_size=8, block_out_channels=(8,), attention=(False,), attention_head_dim=8, num_class_embeds=4
    )
    weights = {name: value + 0.1 * torch.randn_like(value) for name, value in family.network().state_dict().items()}
    return family.with_weights(weights, CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3), "cpu")


@attrs.frozen(eq=False)
class Wrapped:
    """A denoiser whose network is `networks[variant]`, and in all else a `unet2d`."""

    networks: dict[str, nn.Module]
    inner: Any = attrs.field(factory=unet)

    def module(self, variant: str = "") -> nn.Module:
        return self.networks[variant].eval()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Tiny(nn.Module):
    """Of no family that is known, and quickly exported."""

    def __init__(self) -> None:
        super().__init__()
        self.classes, self.first, self.last = nn.Embedding(4, 6), nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 1, 1)
        self.norm = nn.GroupNorm(3, 6)

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        told = (self.classes(index) * (t[:, None] / 1000).cos())[:, :, None, None]
        out: Tensor = self.last(torch.tanh(self.norm(self.first(x) + told)))
        return out


def tiny(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return Wrapped({"": Tiny()})


def ask(evaluator: Any, rows: int, variant: str = "") -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    x, t = torch.randn(rows, 1, 8, 8, generator=generator), torch.linspace(999, 1, rows)
    with torch.inference_mode():
        out: Tensor = evaluator(x, t, RowConditions(torch.arange(rows) % 4, variant))
        return out.clone()


def work(
    rows: int = 2, precision: Any = "fp32", threads: int = 1, identity: str = "shared", device: Any = CPU
) -> Workload:
    return Workload(rows, device, precision, identity, threads)


def test_what_it_refuses(monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: object())
    serves, denoiser = OpenVino(), unet()
    assert serves.refusal(denoiser, work()) is None
    assert serves.refusal(denoiser, work(precision="bf16")) is None
    assert "fp16" in (serves.refusal(denoiser, work(precision="fp16")) or "")
    assert "--device cpu" in (serves.refusal(denoiser, work(device=torch.device("cuda"))) or "")
    assert "--backend eager" in (serves.refusal(object(), work()) or "")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fp16"):
        serves.evaluator(denoiser, work(precision="fp16"))


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'emnist-diff\[openvino\]'"):
        OpenVino().evaluator(unet(), work())


@needed
def test_bits_are_the_same_however_many_requests_are_in_flight_and_from_run_to_run():
    """Parts of 4 rows: one at a time, two and three at once."""
    denoiser, answers = unet(), []
    for rows, threads in ((4, 1), (8, 2), (12, 3)):
        assert Cut.of(rows, threads) == Cut(4, threads, 1)
        evaluator = OpenVino().evaluator(denoiser, work(rows, threads=threads))
        answers += [ask(evaluator, 24), ask(evaluator, 24)]
    assert all(torch.equal(answer, answers[0]) for answer in answers)


@needed
def test_the_buffers_of_a_request_do_not_leak_into_the_next_answer():
    evaluator = OpenVino().evaluator(tiny(), work(2))
    first = ask(evaluator, 2)
    kept = first.clone()
    ask(evaluator, 4)
    assert torch.equal(first, kept)


@needed
def test_each_variant_is_a_network_of_its_own():
    first, second = tiny(1).module(), tiny(2).module()
    evaluator = OpenVino().evaluator(Wrapped({"": first, "other": second}), work())
    x, t, index = torch.randn(2, 1, 8, 8), torch.tensor([1.0, 500.0]), torch.tensor([0, 3])
    with torch.inference_mode():
        for variant, network in (("", first), ("other", second), ("", first)):
            answer = evaluator(x, t, RowConditions(index, variant))
            torch.testing.assert_close(answer, network(x, t, index), rtol=1e-4, atol=1e-4)


class Unconditional(nn.Module):
    """Looks at the state and at nothing else, by operations that are not those of `unet2d`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.GroupNorm(3, 6), nn.Tanh(), nn.Conv2d(6, 1, 1))

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


@needed
def test_a_network_of_another_family_that_ignores_its_condition():
    torch.manual_seed(3)
    network = Unconditional()
    evaluator = OpenVino().evaluator(Wrapped({"": network}), work())
    x = torch.randn(4, 1, 8, 8)
    with torch.inference_mode():
        answer = evaluator(x, torch.ones(4), RowConditions(torch.zeros(4, dtype=torch.int64)))
        torch.testing.assert_close(answer, network(x, x, x), rtol=1e-4, atol=1e-4)


class Branching(nn.Module):
    """Looks at a value while it runs, which a graph cannot."""

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        return x * float(t[0]) + t[:, None, None, None] + index[:, None, None, None]


class Unwilling(nn.Module):
    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        raise RuntimeError("not with me")


@needed
@pytest.mark.parametrize(("network", "says"), [(Branching(), "is not the network"), (Unwilling(), "not with me")])
def test_what_does_not_survive_export_is_an_error_with_a_way_out(folder, network, says):
    with pytest.raises(PluginError, match=f"{says}.*--backend eager"):
        OpenVino().evaluator(Wrapped({"": network}), work(identity="x"))
    assert not folder.exists()


@needed
def test_converting_reports_to_nobody(folder, openvino, monkeypatch):
    def reported(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("telemetry was started")

    monkeypatch.setattr("openvino.tools.ovc.convert_impl.init_ovc_telemetry", reported)
    OpenVino().evaluator(tiny(), work())
    assert folder.exists()  # it was converted


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, exporting is a failure of the test."""

    def forbid() -> None:
        def exported(*arguments: Any) -> Any:
            raise AssertionError("exported again")

        monkeypatch.setattr(_graph, "rewritten", exported)

    return forbid


@needed
def test_the_next_run_reads_what_this_one_has_exported(folder, no_export):
    answer = ask(OpenVino().evaluator(tiny(), work(identity="x")), 4)
    assert len(list(folder.iterdir())) == 1
    no_export()
    assert torch.equal(ask(OpenVino().evaluator(tiny(), work(identity="x")), 4), answer)
    assert torch.equal(ask(OpenVino().evaluator(tiny(), work(4, threads=2, identity="x")), 4), answer)  # same parts
    for other, need in ((tiny(), work(3, identity="x")), (tiny(), work(identity="y")), (tiny(1), work(identity="x"))):
        with pytest.raises(PluginError, match="exported again"):
            OpenVino().evaluator(other, need)
    with pytest.raises(PluginError, match="exported again"):
        OpenVino(cache=False).evaluator(tiny(), work(identity="x"))


@needed
@pytest.mark.parametrize("settings", [{"cache": False}, {}])
def test_nothing_is_kept_unless_asked_and_known(folder, settings):
    OpenVino(**settings).evaluator(tiny(), work(identity="" if not settings else "x"))
    assert not folder.exists()


@needed
def test_a_damaged_cache_is_exported_anew(folder, no_export):
    answer = ask(OpenVino().evaluator(tiny(), work(identity="x")), 4)
    (entry,) = folder.iterdir()
    entry.write_bytes(entry.read_bytes()[:-100])
    assert torch.equal(ask(OpenVino().evaluator(tiny(), work(identity="x")), 4), answer)
    no_export()
    assert torch.equal(ask(OpenVino().evaluator(tiny(), work(identity="x")), 4), answer)


@needed
def test_an_entry_that_the_library_cannot_read_is_exported_anew(folder):
    answer = ask(OpenVino().evaluator(tiny(), work(identity="x")), 4)
    (entry,) = folder.iterdir()
    backend.Cache(folder).put(entry.stem, [b"<net>", b"no weights"])
    assert torch.equal(ask(OpenVino().evaluator(tiny(), work(identity="x")), 4), answer)


@needed
def test_where_the_cache_cannot_be_written_a_run_goes_on(folder):
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.write_text("a file where the folder should be")
    assert ask(OpenVino().evaluator(tiny(), work(identity="x")), 4).isfinite().all()


@needed
def test_reduced_precision_is_refused_where_the_processor_has_none(openvino, monkeypatch):
    monkeypatch.setattr(openvino.Core, "get_property", lambda *arguments: ["FP32", "INT8"])
    with pytest.raises(ConfigError, match="--precision fp32"):
        OpenVino().evaluator(tiny(), work(precision="bf16"))


@needed
def test_full_precision_is_full_where_the_processor_prefers_less():
    denoiser = unet()
    evaluator: Any = OpenVino().evaluator(denoiser, work(4))
    x, t = torch.randn(4, 1, 8, 8), torch.tensor([1.0, 10.0, 500.0, 999.0])
    index = torch.arange(4)
    with torch.inference_mode():
        got = evaluator(x, t, RowConditions(index))
        truth = denoiser.module()(x, t, index)
    assert (got - truth).norm() / truth.norm() < 1e-5


def test_a_signal_after_the_network_has_gone_is_harmless():
    """OpenVINO leaves a stack for signals with the thread that compiles; see `_core`."""
    code = """
import gc, signal, threading
import torch
from emnist_diff_plugins.contract import Workload
from emnist_diff_testing import tiny_unet
from emnist_diff_plugins.backends.openvino import OpenVino

work = Workload(2, torch.device("cpu"))
made = [OpenVino(cache=False).evaluator(tiny_unet(16).denoiser, work) for _ in range(2)]
for _ in range(2):
    thread = threading.Thread(target=lambda: (made.pop(), gc.collect()))
    thread.start()
    thread.join()
signal.signal(signal.SIGINT, lambda *_: print("asked to stop"))
signal.raise_signal(signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "asked to stop\n"), done.stderr
