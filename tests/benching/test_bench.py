"""Measuring a machine: what is counted, what is skipped and why, and what is made of it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from emnist_diff.discovery import installed
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.benching import arithmetic, ceiling, userconfig
from emnist_diff_plugins.benching.arithmetic import Convolution
from emnist_diff_plugins.benching.cells import Bench, Cell, Measured, grid
from emnist_diff_plugins.benching.recommend import recommend
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_plugins.pluginfiles import with_files

CPU = torch.device("cpu")

TINY = UNet2D(
    sample_size=8,
    block_out_channels=(8, 16),
    attention=(False, False),
    attention_head_dim=8,
    norm_num_groups=4,
    num_class_embeds=4,
)

BACKENDS = '''
import attrs
from emnist_diff.direct import Direct
from emnist_diff.hookspecs import hookimpl
from emnist_diff_plugins.contract import BackendSpec

@attrs.frozen
class Plain:
    def refusal(self, denoiser, work):
        return None
    def evaluator(self, denoiser, work):
        return Direct(denoiser, work.rows)

class Off(Plain):
    """Everything a tenth too large."""
    def evaluator(self, denoiser, work):
        return lambda *question: 1.1 * Direct(denoiser, work.rows)(*question)

class Refuses(Plain):
    def refusal(self, denoiser, work):
        return "not on a Tuesday"

class Breaks(Plain):
    def evaluator(self, denoiser, work):
        raise RuntimeError("no such\\nkernel")

class Slow(Plain):
    def evaluator(self, denoiser, work):
        import time
        time.sleep(0.05)
        return Direct(denoiser, work.rows)

class Endless(Plain):
    def evaluator(self, denoiser, work):
        import time
        try:
            time.sleep(60)
        except Exception:  # as compilers have it
            pass

@hookimpl
def emnist_diff_backends():
    def spec(name, cls, **more):
        return BackendSpec(name=name, factory=f"{__name__}:{cls}", summary=name, **more)
    yield spec("plain", "Plain")
    yield spec("off", "Off", precisions=("bf16",))
    yield spec("refuses", "Refuses")
    yield spec("breaks", "Breaks")
    yield spec("slow", "Slow")
    yield spec("endless", "Endless")
    yield spec("absent", "Plain", requires=("no_such_module",), extra="nothing")
    yield spec("elsewhere", "Plain", devices=("cuda",))
    yield spec("dear", "Plain", min_rows=1_000_000, priority=99)
'''


@pytest.fixture
def backends(tmp_path: Path) -> Path:
    path = tmp_path / f"backends_of_{tmp_path.name}.py"  # a module name, one for each test of a process
    path.write_text(BACKENDS)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkpoint of a small network with random weights."""
    torch.manual_seed(0)
    header = CheckpointHeader(
        family="unet2d", network=dict(unstructure(TINY)), classes=("A", "B", "C"), null_index=3,
        recommended={"steps": 4, "guidance_scale": 2.0},
    )  # fmt: skip
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(path, header, TINY.network().state_dict())
    return path


def measured(backend: str, ms: float, *, precision: Any = "fp32", rows: int = 32, threads: int = 4) -> Measured:
    """A measurement of so many milliseconds a row."""
    cell = Cell(backend, precision, rows, max(rows, 32) if rows > 2 else rows, threads)
    return Measured(cell, (ms * cell.at_once / 1e3,), 0.0, 0.0)


def test_operations_are_those_of_the_network() -> None:
    header = CheckpointHeader(family="unet2d", classes=("A", "B", "C"), null_index=3)
    denoiser = TINY.with_weights(TINY.network().state_dict(), header, "cpu")
    found = arithmetic.of(denoiser, CPU)
    # conv_in; two residual layers each in level 0's way down, three in each way up, …: told apart by their sizes
    assert found.convolutions[Convolution(1, 8, 8, 8)] == 1
    assert found.convolutions[Convolution(8, 1, 8, 8)] == 1
    assert found.convolutions[Convolution(24, 8, 8, 8)] == 1  # of level 1's 16 channels and level 0's 8
    in_convolutions = sum(c.flops * count for c, count in found.convolutions.items())
    assert 0.5 * found.flops < in_convolutions < found.flops
    assert Convolution(8, 1, 8, 8).flops == 2 * 8 * 9 * 64


def test_a_denoiser_without_convolutions_has_no_such_ceiling() -> None:
    found = arithmetic.of(GaussianMixture(shape=(4,), classes="AB").denoiser(), CPU)
    assert found.convolutions == {}
    roof = ceiling.measure(found.convolutions, 2, "fp32", 1, CPU, 0.0)
    assert roof.convolution is None
    assert roof.matmul > 0


def test_the_ceiling_is_of_the_fastest() -> None:
    small, large = Convolution(1, 1, 4, 4), Convolution(16, 16, 16, 16)
    roof = ceiling.measure({small: 3, large: 1}, 2, "fp32", 1, CPU, 0.0)
    assert roof.convolution is not None
    assert roof.convolutions is not None
    assert 0 < roof.convolutions < roof.convolution
    assert (roof.precision, roof.threads) == ("fp32", 1)


def test_cells_ask_for_as_many_rows_as_a_run() -> None:
    cells = list(grid(["a", "b"], ["fp32"], [2, 8, 24, 64], [1, 4]))
    assert len(cells) == 16
    assert {(c.rows, c.at_once) for c in cells} == {(2, 2), (8, 32), (24, 24), (64, 64)}
    assert [c.threads for c in cells[:8]] == [4] * 4 + [1] * 4


def test_what_cannot_serve_is_skipped_and_the_rest_measured(backends: Path) -> None:
    denoiser, threads = GaussianMixture(shape=(3,), classes="ABC").denoiser(), torch.get_num_threads()
    bench = Bench(with_files([backends]), denoiser, CPU, rounds=2, seconds=0.0, patience=0.04)
    names = ["plain", "off", "refuses", "breaks", "slow", "absent", "elsewhere"]
    found, skipped = bench(grid(names, ["fp32", "bf16"], [2, 8], [1]))
    reasons = {s.what: s.reason for s in skipped}
    assert {(m.cell.backend, m.cell.precision, m.cell.rows) for m in found} == {
        ("plain", "fp32", 2), ("plain", "fp32", 8), ("off", "bf16", 2), ("off", "bf16", 8), ("slow", "fp32", 2),
    }  # fmt: skip
    assert all(len(m.seconds) == 2 and m.ms_per_row > 0 and m.spread >= 1 for m in found)
    assert {m.cell.backend: round(m.error, 6) for m in found} == {"plain": 0.0, "off": 0.1, "slow": 0.0}
    assert reasons["refuses fp32"] == "not on a Tuesday"
    assert reasons["breaks fp32"] == "broken: no such kernel"
    assert "emnist-diff[nothing]" in reasons["absent fp32"]
    assert "cuda" in reasons["elsewhere fp32"]
    assert "bf16" in reasons["off fp32"]
    assert "--patience" in reasons["slow fp32, calls of 8"]
    assert torch.get_num_threads() == threads


def test_a_set_up_without_end_is_stopped_where_a_bound_is_set(backends: Path) -> None:
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    denoiser = GaussianMixture(shape=(3,), classes="ABC").denoiser()
    bench = Bench(with_files([backends]), denoiser, CPU, rounds=1, seconds=0.0, patience=1.0, stops=True)
    began = time.monotonic()
    found, skipped = bench(grid(["endless", "plain"], ["fp32"], [2, 8], [1]))
    assert time.monotonic() - began < 20
    assert [(s.what, s.reason) for s in skipped] == [
        ("endless fp32", "setting up was stopped after 1 s — use --patience to wait longer")
    ]
    assert [m.cell.rows for m in found] == [2, 8]
    assert signal.getsignal(signal.SIGALRM) is before[0]  # and whoever waited for a timer waits on
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) is (before[1] > 0)


def test_what_takes_long_to_set_up_is_left_to_long_runs(cli: Any, tiny: Path, backends: Path) -> None:
    few = ("--rows", "32", "--threads", "1", "--checkpoint", tiny, "--plugin-file", backends)
    data = json.loads(cli("bench", "--quick", *few, "--precision", "fp16", "--json").out)  # in which few can compute
    assert {"what": "dear", "reason": "its set-up pays from 1,000,000 network rows on — use --backend dear"} in data[
        "skipped"
    ]
    assert "dear" not in {m["backend"] for m in data["measured"]}
    data = json.loads(
        cli("bench", "--quick", *few, "--precision", "fp32", "--backend", "dear", "--backend", "plain", "--json").out
    )
    assert {m["backend"] for m in data["measured"]} == {"dear", "plain"}
    assert data["recommended"]["settings"].get("backend") != "dear"


def test_half_of_the_rows_have_no_class() -> None:
    denoiser = GaussianMixture(shape=(3,), classes="ABC").denoiser()
    _, t, conds = Bench(installed(), denoiser, CPU).question(8)
    assert conds.index.tolist() == [0, 3, 2, 3, 1, 3, 0, 3]
    assert len(set(t.tolist())) == 1


AUTO = {"fp32": "fast", "bf16": "fast"}


def test_the_fastest_is_recommended() -> None:
    cells = [measured("fast", 2.0), measured("other", 1.0), measured("fast", 0.5, precision="bf16")]
    best = recommend(cells, AUTO, 4)
    assert best is not None
    assert best.settings == {"backend": "other", "precision": None, "threads": None}
    assert best.exact
    best = recommend(cells, AUTO, 4, reduced=True)
    assert best is not None
    assert best.settings == {"backend": None, "precision": "bf16", "threads": None}
    assert not best.exact


def test_what_makes_no_difference_is_left_to_the_defaults() -> None:
    cells = [
        measured("fast", 1.0), measured("other", 0.97), measured("fast", 1.01, threads=2),
        measured("fast", 0.98, precision="bf16"), measured("fast", 2.0, threads=1),
    ]  # fmt: skip
    best = recommend(cells, AUTO, 4, reduced=True)
    assert best is not None
    assert best.settings == {"backend": None, "precision": None, "threads": 2}


def test_single_samples_decide_nothing() -> None:
    assert recommend([measured("fast", 0.1, rows=2)], AUTO, 4) is None
    best = recommend([measured("fast", 0.1, rows=2), measured("other", 1.0)], AUTO, 4)
    assert best is not None
    assert best.best.cell.backend == "other"


FEW = ("--quick", "--precision", "fp32", "--rows", "2,32", "--threads", "1")


def test_command(cli: Any, tiny: Path, backends: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[run]\nprecision = "bf16"\ndevice = "cpu"\n')
    monkeypatch.setenv(userconfig.VARIABLE, str(file))
    few = (*FEW, "--checkpoint", tiny, "--backend", "eager", "--backend", "refuses", "--plugin-file", backends)
    done = cli("bench", *few, "--json", "--write")
    assert done.code == 0, done.err
    data = json.loads(done.out)
    assert data["default_run"]["rows_per_sample"] == 8  # 4 steps with guidance
    assert [(m["backend"], m["rows"], m["at_once"]) for m in data["measured"]] == [("eager", 2, 2), ("eager", 32, 32)]
    for m in data["measured"]:
        assert m["samples_per_second"] == pytest.approx(m["rows_per_second"] / 8)
        assert m["share_of_ceiling"] > 0
    assert [s["what"] for s in data["skipped"]] == ["refuses fp32"]
    assert data["recommended"]["exact"]
    assert "precision" not in userconfig.read()
    assert userconfig.read()["device"] == "cpu"

    done = cli("bench", *few)
    assert done.code == 0, done.err
    assert "recommended" in done.out
    assert "not on a Tuesday" in done.out
    assert max(map(len, done.out.splitlines()[:8])) <= 110


def test_without_a_recommendation_nothing_is_written(
    cli: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[run]\nthreads = 3\n")
    monkeypatch.setenv(userconfig.VARIABLE, str(file))
    only = ("--quick", "--precision", "fp32", "--threads", "1", "--backend", "eager", "--checkpoint", tiny)
    done = cli("bench", *only, "--rows", "2", "--write")
    assert done.code == 2
    assert "nothing was written" in done.err
    assert userconfig.read() == {"threads": 3}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rows", "8,x"), "--rows"),
        (("--threads", "0"), "less than 1"),
        (("--precision", "fp8"), "fp8"),
        (("--backend", "eagre"), "did you mean 'eager'"),
        (("--patience", "0"), "--patience"),
    ],
)
def test_mistakes(cli: Any, arguments: tuple[str, ...], said: str) -> None:
    done = cli("bench", *arguments)
    assert done.code == 2
    assert said in done.error


def test_a_broken_user_configuration_is_said_before_the_work(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[run\n")
    monkeypatch.setenv(userconfig.VARIABLE, str(file))
    done = cli("bench", "--write")
    assert done.code == 2
    assert str(file) in done.error
