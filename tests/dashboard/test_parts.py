"""The parts of the dashboard by themselves."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import structlog
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute
from emnist_diff_plugins import blocks
from emnist_diff_plugins.dashboard import devices
from emnist_diff_plugins.dashboard.devices import Gpu, Meters, Readings
from emnist_diff_plugins.dashboard.log import Log
from emnist_diff_plugins.dashboard.screen import Drawn, clock, screen
from emnist_diff_plugins.dashboard.state import Finished, Line, Numbers, Picture, State
from emnist_diff_plugins.dashboard.streams import can_draw
from emnist_diff_plugins.dashboard.watch import Watch
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.metrics import trace
from emnist_diff_trajectory.reader import Trajectory


def done(number: int) -> Finished:
    return Finished(number, "A", 1000, 0.5, 12.0)


def test_a_run_without_a_dashboard_does_not_pay_for_it():
    code = "import sys; import emnist_diff_plugins.dashboard.progress; print(*{'torch', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_rate_and_time_left_count_the_samples_in_hand_and_not_those_found() -> None:
    now = [100.0]
    state = State(lambda: now[0])
    assert state.snapshot().rate is None
    state.begin("A", 100, 10)
    state.resumed(40)
    state.stepped(20, 5)
    now[0] += 4
    shown = state.snapshot()
    assert shown.done == 40
    assert shown.rate == pytest.approx(10 / 4)
    assert shown.left == pytest.approx(60 / 2.5 - 4)
    state.committed([done(k) for k in range(20)])
    now[0] += 4
    shown = state.snapshot()
    assert (shown.done, shown.rate, shown.left) == (60, pytest.approx(20 / 8), pytest.approx(16))
    now[0] += 3600
    state.slept(3600)
    assert state.snapshot().left == pytest.approx(16)
    state.stepped(20, 5)
    state.stop()
    shown = state.snapshot()
    assert shown.rate == pytest.approx(30 / 8)
    assert shown.left == pytest.approx(10 / shown.rate), "of the batch in hand, half of which is done"


def test_the_state_loses_nothing_between_threads() -> None:
    state, seen = State(), []
    state.begin("A", 4000, 2)

    def work(number: int) -> None:
        for k in range(1000):
            state.log(Line(0.0, "info", f"{number} {k}"))
            state.committed([done(k)])

    def watch() -> None:
        while not seen or seen[-1].done < 4000:
            seen.append(state.snapshot())

    threads = [threading.Thread(target=watch), *(threading.Thread(target=work, args=(n,)) for n in range(4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert state.snapshot().done == 4000
    assert [s.done for s in seen] == sorted(s.done for s in seen)
    assert len(state.snapshot().lines) == 200


TEXT = st.text(max_size=60)


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 200),
    height=st.integers(1, 70),
    title=TEXT,
    text=TEXT,
    character=TEXT,
    picture=st.sampled_from([None, (28, 28), (28, 28, 3), (5, 90), (128, 64, 3)]),
    gpu=st.booleans(),
    numbers=st.integers(0, 12),
)
def test_the_screen_fits_whatever_it_shows(
    width: int, height: int, title: str, text: str, character: str, picture: Any, gpu: bool, numbers: int
) -> None:
    state = State(lambda: 5.0)
    state.begin(title, 7, 3)
    state.stepped(4, 2)
    state.log(Line(1e9, "info", text))
    state.log(Line(1e9, "", text))
    state.committed([Finished(3, character, 2**64 - 1, 1.5, 2.5, 100.0 if gpu else None)])
    if numbers:
        values = {"latent_l2_norm": 27.5, "attention_kl_divergence": float("nan")}
        state.measure(1, tuple(Numbers(k, values, text, 0.25) for k in range(numbers)))
    if picture:
        state.pictured(Picture(np.zeros((9, *picture), np.uint8), tuple(range(9)), 2))
    gpus = (Gpu(0, "NVIDIA H100 80GB HBM3", 0.97, 61.0, 40 * 10**9, 80 * 10**9), Gpu(1, text, None, None, 0, 0))
    readings = Readings(0.5, 8, 3.2, 10**9, 10**10, 10**8, gpus if gpu else (), (text,))
    console = Console(file=io.StringIO(), force_terminal=True, color_system="256", width=width, height=height)
    options = console.options.update_dimensions(width, height)
    drawn: Drawn = {}
    console.render_lines(screen(State().snapshot(), Readings(), width, height, drawn), options, pad=True)
    lines = console.render_lines(screen(state.snapshot(), readings, width, height, drawn), options, pad=True)
    assert console.render_lines(screen(state.snapshot(), readings, width, height, drawn), options, pad=True) == lines
    assert console.render_lines(screen(state.snapshot(), readings, width, height, {}), options, pad=True) == lines
    assert len(lines) <= height
    assert all(sum(part.cell_length for part in line) == width for line in lines)
    shown = "".join(part.text for line in lines for part in line)
    assert "\x1b" not in shown
    if width >= 24:
        assert "1 of 7 samples" in shown
    if gpu and width >= 90 and height >= 24:
        assert "NVIDIA H100" in shown
        assert "97%" in shown
    if numbers and width >= 76 and (24 <= height < 28 or height >= 34):
        assert "27.50" in shown


def test_a_bar_and_the_number_beside_it_say_the_same() -> None:
    state = State(lambda: 5.0)
    state.begin("A", 24, 5)
    state.committed(Finished(number, "A", 1, 1.0, 1.0) for number in range(12))
    state.stepped(4, 3)
    console = Console(file=io.StringIO(), width=60, height=10)
    lines = console.render_lines(screen(state.snapshot(), Readings(), 60, 10, {}), console.options)
    shown = ["".join(part.text for part in line) for line in lines]
    bars = [line for line in shown if "━" in line]
    assert [line.count("━") + line.count("╸") / 2 for line in bars] == pytest.approx([30, 30], abs=0.5)  # of 50
    assert [line.rstrip(" │")[-5:] for line in bars] == [" 60 %", " 60 %"]
    assert sum(line.count("%") for line in shown) == 2
    assert "12 of 24 samples" in "".join(shown)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0:00"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (183840, "2 d 03:04")],
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_half_blocks_show_two_pixels_each() -> None:
    picture = np.array([[0, 255, 128], [255, 0, 0], [255, 255, 0]], np.uint8)
    upper, lower = blocks.lines(picture, color=True)
    cells = [(c, part.style) for part in upper for c in part.text]
    assert "".join(c for c, _ in cells) == "▀▀▀"
    assert [(s.color.number, s.bgcolor.number) for _, s in cells] == [(16, 255), (255, 16), (232 + 12, 16)]
    assert [p.style.bgcolor.number for p in lower] == [16, 16], "a line that is missing is black"
    assert [[p.text for p in line] for line in blocks.lines(picture, color=False)] == [["▄▀▀"], ["▀▀ "]]


def test_half_blocks_in_colour() -> None:
    picture = np.array([[[255, 0, 0], [0, 0, 255]], [[0, 255, 0], [0, 0, 0]]], np.uint8)
    ((left, right),) = blocks.lines(picture, color=True)
    assert (left.style.color.triplet.hex, left.style.bgcolor.triplet.hex) == ("#ff0000", "#00ff00")
    assert (right.style.color.triplet.hex, right.style.bgcolor.triplet.hex) == ("#0000ff", "#000000")


@pytest.mark.parametrize("shape", [(2, 28, 28), (3, 9, 4), (1, 7, 30, 3), (2, 64, 64, 3)])
@pytest.mark.parametrize("rows", [1, 3, 7, 40])
def test_pictures_are_made_small_by_means(shape: tuple[int, ...], rows: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    small = blocks.shrunk(pixels, rows)
    assert (small.shape[1] + 1) // 2 <= rows
    factor = -(-shape[1] // small.shape[1])
    for y in range(shape[1] // factor):
        for x in range(shape[2] // factor):
            square = pixels[:, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            assert np.abs(small[:, y, x] - square.mean(axis=(1, 2))).max() <= 0.5


def test_watching_changes_nothing_and_the_path_is_that_of_the_file(tmp_path: Path) -> None:
    layer = {
        "denoiser": {"name": "gaussian-mixture", "settings": {"shape": [1, 4, 4], "classes": "ABC"}},
        "character": "A,C",
        "total_videos": 7,
        "batch_size": 3,
        "steps": 6,
        "sinks": [{"name": "hdf5"}],
        "output": str(tmp_path),
    }
    settings, _ = configure(installed(), layer)
    assembly = assemble(installed(), settings)
    state, calls = State(), []
    watch = Watch(state, lambda header: calls.append("opened"), lambda: calls.append("closed"))
    execute(attrs.evolve(assembly, sinks=(*assembly.sinks, watch)))
    with Trajectory(tmp_path / "A+C" / "trajectory.h5") as file:
        watched = file.x[:]
    settings, _ = configure(installed(), layer | {"output": str(tmp_path / "unwatched")})
    execute(assemble(installed(), settings))
    with Trajectory(tmp_path / "unwatched" / "A+C" / "trajectory.h5") as file:
        assert file.x[:].tobytes() == watched.tobytes()
    x = watched.astype(np.float64).reshape(7, 7, -1)
    path = np.linalg.norm(np.diff(x, axis=1), axis=2).sum(axis=1)
    shown = state.snapshot()
    assert [s.path for s in shown.finished] == pytest.approx(path.tolist(), rel=1e-5)
    assert [(s.sample, s.character, s.seed) for s in shown.finished] == [(k, "AC"[k % 2], 1000) for k in range(7)]
    assert (shown.title, shown.total, shown.done, calls) == ("A, C", 7, 7, ["opened", "closed"])
    assert (shown.measured, [numbers.sample for numbers in shown.numbers]) == (6, [6])
    with Trajectory(tmp_path / "A+C" / "trajectory.h5") as file:
        states = np.asarray(file.x[6])
        expected = {
            "latent_l2_norm": trace.l2_norms(states[1:])[-1],
            "predicted_noise_l2_norm": trace.l2_norms(file.epsilon(6))[-1],
            "cosine_similarity_to_previous": trace.cosine_to_previous(states[1:])[-1],
            "cosine_of_updates": trace.cosine_of_updates(states)[-1],
        }
    assert {name: shown.numbers[0].values[name] for name in expected} == expected
    assert shown.picture is not None
    assert shown.picture.pixels.shape in ((3, 4, 4), (1, 4, 4))  # of the last batch, or of an earlier one


def test_a_picture_that_cannot_be_made_does_not_end_the_run(tmp_path: Path) -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such picture")

    mixture = {"name": "gaussian-mixture", "settings": {"shape": [1, 4, 4], "classes": "AB"}}
    layer = {"denoiser": mixture, "total_videos": 2, "steps": 3, "sinks": [], "output": str(tmp_path)}
    settings, _ = configure(installed(), layer)
    assembly = assemble(installed(), settings)
    watch = Watch(State(), lambda header: None, lambda: None)
    assembly = attrs.evolve(assembly, sinks=(watch,), header=attrs.evolve(assembly.header, decode=fail))
    with structlog.testing.capture_logs() as logs:
        assert execute(assembly).samples == 2
    assert [line["error"] for line in logs if line["event"] == "dashboard.no_pictures"] == [
        "ValueError: no such picture"
    ]


class FakeNvml(types.ModuleType):
    """The part of pynvml that is used, with two GPUs; the second tells neither its load nor its temperature."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.open, self.lost = False, False

    def nvmlInit(self) -> None:
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        if self.lost:
            raise self.NVMLError("GPU is lost")
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> Any:
        return ["NVIDIA A", b"NVIDIA B"][handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return types.SimpleNamespace(used=10**9 * (handle + 1), total=8 * 10**9)

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:
        if handle:
            raise self.NVMLError("not supported")
        return 55

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if handle:
            raise self.NVMLError("not supported")
        return types.SimpleNamespace(gpu=73)


def imported(monkeypatch: pytest.MonkeyPatch, **modules: Any) -> None:
    """Let `devices` find these modules, or no module where one is None."""
    real = importlib.import_module

    def find(name: str) -> Any:
        if modules.get(name, ()) is None:
            raise ModuleNotFoundError(name)
        return modules.get(name) or real(name)

    monkeypatch.setattr(devices.importlib, "import_module", find)


def test_gpus_through_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    imported(monkeypatch, pynvml=nvml)
    meters = Meters()
    assert meters.read().gpus == (
        Gpu(0, "NVIDIA A", 0.73, 55.0, 10**9, 8 * 10**9),
        Gpu(1, "NVIDIA B", None, None, 2 * 10**9, 8 * 10**9),
    )
    nvml.lost = True
    assert meters.read().gpus == ()
    assert any("GPU is lost" in note for note in meters.read().notes)
    nvml = FakeNvml()
    imported(monkeypatch, pynvml=nvml)
    meters = Meters()
    assert nvml.open
    meters.close()
    assert not nvml.open


def test_processors_and_memory_through_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")
    imported(monkeypatch, pynvml=None)
    meters = Meters()
    torch.randn(200, 200) @ torch.randn(200, 200)
    readings = meters.read()
    assert readings.load is not None
    assert 0 <= readings.load <= 1
    assert readings.cores == psutil.cpu_count()
    assert readings.memory_total == psutil.virtual_memory().total
    assert 0 < readings.own_memory < readings.memory_total
    assert any("emnist-diff[dashboard]" in note for note in readings.notes)
    meters.close()


def test_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    imported(monkeypatch, psutil=None, pynvml=None)
    readings = Meters().read()
    assert readings.load is None
    assert readings.gpus == ()
    assert len(readings.notes) == 2
    assert all("pip install 'emnist-diff[dashboard]'" in note for note in readings.notes)


def test_the_log_file_is_added_to(tmp_path: Path) -> None:
    for number in range(2):
        log = Log(State())
        log.open(tmp_path / "A" / "run.log")
        with pytest.raises(structlog.DropEvent):
            log.event(None, "info", {"event": "run.started", "level": "info", "number": number, "path": tmp_path})
        log.close()
        assert log.event(None, "info", {"event": "later"}) == {"event": "later"}
    lines = [json.loads(line) for line in (tmp_path / "A" / "run.log").read_text().splitlines()]
    assert [(line["event"], line["number"]) for line in lines] == [("run.started", 0), ("run.started", 1)]


def test_a_log_file_that_cannot_be_is_told_of_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "A").write_text("a file where the folder should be")
    state = State()
    log = Log(state)
    log.open(tmp_path / "A" / "run.log")
    with pytest.raises(structlog.DropEvent):
        log.event(None, "warning", {"event": "something", "level": "warning"})
    assert [line.level for line in state.snapshot().lines] == ["warning", "warning"]
    assert log.grave == ["warning: something"]
    log.close()


class Stream(io.StringIO):
    encoding = "utf-8"

    def __init__(self, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal, self.encoding = terminal, encoding  # type: ignore[misc]

    def isatty(self) -> bool:
        return self._terminal


def test_where_nothing_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert can_draw(Stream(True)) == ""
    assert "no terminal" in can_draw(Stream(False))
    assert "ascii" in can_draw(Stream(True, "ascii"))
    monkeypatch.setenv("TERM", "dumb")
    assert "'dumb'" in can_draw(Stream(True))
