"""What needs more memory than there is, is refused before work, with what it needs and the way out."""

from __future__ import annotations

import attrs
import pytest

from emnist_diff.assembly.assemble import assemble
from emnist_diff.components import call_component
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff_plugins import capacity
from emnist_diff_plugins.capacity import available_memory, require_memory, size
from emnist_diff_plugins.reviews.memory import SufficientMemory
from emnist_diff_plugins.runconfig import resolve

MIXTURE = ("--denoiser", "gaussian-mixture:shape=[1,4,4],classes=AB")


@pytest.fixture
def small(monkeypatch):
    """A machine with 1 GB of memory left."""
    monkeypatch.setattr(capacity, "available_memory", lambda: 10**9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--total-videos", "10000000000000"], "'total_videos' must be <= 1099511627776"),
        (["--steps", "10000000", "--scheduler", "euler"], "'steps' must be <= 1048576"),
        (["--micro-batch", "1000000000"], "in calls of 1000000000 rows, needs 192 GB of memory, 1.0 GB are free — use a"
         " smaller --micro-batch"),
        (["--steps", "900", "--batch-size", "20000", "--total-videos", "20000", "--sink", "hdf5"],
         "recording 20000 samples of 900 steps at a time by sink Hdf5Sink needs 9.2 GB of memory, 1.0 GB are free — use"
         " a smaller --batch-size"),
        (["--denoiser", "gaussian-mixture:shape=[1,100000,100000],classes=A"],
         "means of 1 classes × 2 components × 10000000000 numbers needs 320 GB of memory"),
        (["--denoiser", "gaussian-mixture:shape=[2],classes=AB,components=1000000000"], "needs 64.0 GB of memory"),
        (["--denoiser", "gaussian-mixture:shape=[2],classes=AB,train_timesteps=1000000000"],
         "'train_timesteps' must be <= 100000"),
        (["--sink", "grid:scale=100000"], "'scale' must be <= 256"),
        (["--sink", "grid:scale=256", "--total-videos", "5000"], "by sink GridSink needs 10.5 GB of memory"),
        (["--sink", "metrics", "--sink", "hdf5", "--steps", "900", "--batch-size", "9000", "--total-videos", "9000"],
         "by 2 sinks, most of all Hdf5Sink with 4.1 GB, needs 6.2 GB of memory"),
        (["--sink", "video:format=gif,hold=3600,fps=50"], "a gif shows a frame for at most 655 seconds, not 3600"),
        (["--sink", "video:hold=3600"], "repeat the last frame 108000 times — an mp4 takes at most 10000"),
    ],
)  # fmt: skip
def test_a_run_that_memory_does_not_hold(cli, small, tmp_path, arguments, message):
    denoiser = () if "--denoiser" in arguments else MIXTURE
    refused = cli("run", *denoiser, *arguments, "--output", tmp_path / "out")
    assert refused.code == 2
    assert message in refused.error
    assert not (tmp_path / "out").exists()


def test_bench_does_not_measure_what_memory_does_not_hold(cli, small):
    refused = cli("bench", "--backend", "eager", "--rows", "1000000000")
    assert refused.code == 2
    assert "--rows: 1000000000 states of shape (1, 28, 28) needs 12.5 TB of memory" in refused.error


def test_what_the_machine_has(tmp_path, monkeypatch):
    monkeypatch.setattr(capacity.resource, "getrlimit", lambda _: (capacity.resource.RLIM_INFINITY,) * 2)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return available_memory(tmp_path)

    assert available_memory(tmp_path) is None
    assert write(proc__meminfo="MemTotal: 9000 kB\nMemAvailable:  5000 kB\nSwapFree:  1000 kB\n") == 6000 * 1024
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    group = tmp_path / "sys/fs/cgroup/job"
    group.mkdir(parents=True)
    for name, text in (("max", "4000000"), ("current", "3500000"), ("stat", "anon 7\ninactive_file 200000\n")):
        (group / f"memory.{name}").write_text(text)
    assert available_memory(tmp_path) == 700_000
    (group / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == 6000 * 1024
    monkeypatch.setattr(capacity.resource, "getrlimit", lambda _: (10_000_000, 10_000_000))
    (tmp_path / "proc/self/statm").write_text("2000 1 1\n")
    assert available_memory(tmp_path) == 10_000_000 - 2000 * capacity.resource.getpagesize()


def test_sizes_are_said_for_people(small):
    assert [size(n) for n in (0, 999, 1500, 123_456, 8e21)] == ["0 bytes", "999 bytes", "1.5 kB", "123 kB", "8,000 EB"]
    require_memory(9e8, "this", "no")
    with pytest.raises(ConfigError, match=r"^this needs 2\.0 GB of memory, 1\.0 GB are free — do less$"):
        require_memory(2e9, "this", "do less")


def test_components_say_what_they_need_or_run_out(monkeypatch):
    def hungry():
        raise MemoryError("Unable to allocate 6.55 TiB")

    with pytest.raises(ConfigError, match=r"force 'f' needs more memory than there is: Unable to allocate 6\.55 TiB"):
        call_component("force 'f'", hungry)

    @attrs.define
    class Odd:
        """A sink that does not count."""

        def memory(self, header, batch):
            return "much"

    made = assemble(installed(), resolve({"denoiser": {"name": "gaussian-mixture", "classes": "A"}, "sinks": []}))
    with pytest.raises(PluginError, match=r"sink Odd: memory\(\) returned 'much', not a number of bytes"):
        SufficientMemory().require_sinks(attrs.evolve(made, sinks=(Odd(),)))
