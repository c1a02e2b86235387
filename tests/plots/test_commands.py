"""``emnist-diff plot``, ``report`` and ``compare``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import pytest

from emnist_diff_plugins.plots import pages
from emnist_diff_trajectory.schema import Capture

NINE = [
    "latent_l2_per_step",
    "pixel_l2_per_step",
    "schedule_overlay",
    "generation_times",
    "final_image_stats",
    "cumulative_l2",
    "l2_velocity",
    "video_summary",
    "inference_dashboard",
]


class Page(HTMLParser):
    """What a page is made of: every tag with its attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def needs_nothing_else(page: str) -> Page:
    """The page, parsed; nothing in it runs, and nothing is fetched."""
    parsed = Page(page)
    for tag, attributes in parsed.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            if name in ("src", "href", "srcset", "data", "poster", "action"):
                assert (value or "").startswith("data:"), value
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "default-src 'none'" in page
    return parsed


def test_the_nine_are_drawn_under_their_names(cli: Any, recorded: Callable[..., Path], tmp_path: Path) -> None:
    file = recorded(tmp_path / "t.h5", 3, 4)
    (tmp_path / "metrics").mkdir()
    rows = "".join(f"{i},0.{i + 1},12\n" for i in range(3))
    (tmp_path / "metrics" / "video_metrics.csv").write_text("vid_id,generation_time_sec,gpu_mem_peak_mb\n" + rows)
    done = cli("plot", file, *(word for name in NINE for word in ("--plot", name)), "--format", "svg")
    assert done.code == 0, done.err
    assert sorted(p.stem for p in (tmp_path / "plots").iterdir()) == sorted(NINE)
    assert "left out" not in done.err
    for path in (tmp_path / "plots").iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_missing_fields_leave_what_can_be_drawn_and_one_line(
    cli: Any, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    file = recorded(tmp_path / "t.h5", capture=Capture(fields=frozenset({"prediction"})))
    done = cli("plot", file, "--output", tmp_path / "out", "--list")
    assert done.code == 0
    assert done.out.split() == ["schedule_overlay", "final_image_stats", "weights", "class_grid"]
    assert done.error.startswith("left out: latent_l2_per_step, pixel_l2_per_step, cumulative_l2")
    assert "needs x;" in done.error
    assert "force_ledger: needs forces" in done.error
    assert "basin_trace: needs x0 and x" in done.error
    assert not (tmp_path / "out").exists()
    done = cli("plot", file, "--plot", "cumulative_l2")
    assert done.code == 2
    assert "cumulative_l2: needs x" in done.error


def test_states_that_are_no_pictures(cli: Any, recorded: Callable[..., Path], tmp_path: Path) -> None:
    file = recorded(tmp_path / "t.h5", shape=(7,))
    done = cli("plot", file, "--list", "--json")
    data = json.loads(done.out)
    assert {
        n for n, why in data["left_out"].items() if why.startswith("states that are pictures, or their model (")
    } == {
        "pixel_l2_per_step",
        "denoising_strips",
    }
    assert {"trajectories_pca", "basin_trace", "inference_dashboard"} <= set(data["drawn"])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--plot", "latent_l2"], 2, "did you mean 'latent_l2_per_step'"),
        (["--plot", "schedules"], 2, "run --plot-schedules"),
        (["--plot", "denoising_strips:sample=3"], 2, "did you mean 'samples'"),
        (["--plot", "class_grid", "--plot", "class_grid:rows=3"], 2, "given twice"),
        (["--format", "jpg"], 2, "use one of png, svg, pdf"),
        (["--theme", "drak"], 2, "did you mean 'dark'"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], code: int, said: str, cli: Any, few: Path) -> None:
    done = cli("plot", few, *words)
    assert done.code == code
    assert said in done.error


@pytest.mark.parametrize("command", ["plot", "report", "compare"])
def test_foreign_and_partial_files(
    command: str, cli: Any, few: Path, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.h5"
    foreign.write_bytes(b"no HDF5 at all")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(few.read_bytes()[:-2000])
    empty = recorded(tmp_path / "empty.h5", committed=())
    for file, said in (
        (foreign, "no HDF5"),
        (cut, "truncated"),
        (empty, "no committed sample"),
        (tmp_path / "none", "not exist"),
    ):
        done = cli(command, file, *([few] if command == "compare" else []), "--output", tmp_path / "out")
        assert done.code == 5, done.err
        assert said in done.error
    assert not (tmp_path / "out").exists()


def test_without_matplotlib(cli: Any, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = cli("report", few, "--output", tmp_path / "r.html")
    assert done.code == 3
    assert 'pip install "emnist-diff[plots]"' in done.error


def test_a_plot_of_ones_own(cli: Any, few: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
import attrs
from emnist_diff.hookspecs import hookimpl
from emnist_diff_plugins.contract import PlotSpec

@hookimpl
def emnist_diff_plots():
    yield PlotSpec(name="mine", factory="mine:Mine", summary="a line", of="trajectories")

@attrs.frozen
class Mine:
    power: int = 1
    def lacks(self, runs):
        return ""
    def size(self, runs):
        return 1.0, 0.5
    def draw(self, figure, runs, theme):
        figure.subplots().plot(runs[0].latent_l2.mean(0) ** self.power)
"""
    )
    done = cli("plot", few, "--plugin-file", tmp_path / "mine.py", "--plot", "mine:power=2", "--output", tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_report_is_one_page_and_escapes_everything(cli: Any, recorded: Callable[..., Path], tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>'
    config = {
        "seed": 1,
        "character": evil,
        "forces": [{"name": evil, "settings": {evil: evil}, "weight": 2.0}],
        "list": [1, {"a": "\x1b[31m\u202e"}],
    }
    classes = (evil, "'><img src=x onerror=alert(1)>", "C")
    file = recorded(tmp_path / "t.h5", 4, 5, classes=classes, config=config, forces=("a<b", "x"))
    done = cli("report", file)
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = needs_nothing_else(page)
    assert evil in parsed.text
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert sum(tag == "img" for tag, _ in parsed.tags) >= 8
    assert "video" in [tag for tag, _ in parsed.tags]
    assert "forces[0].settings." in parsed.text
    assert "Left out: generation_times" in parsed.text
    assert "run_distance" not in parsed.text


def test_report_without_pyav(cli: Any, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert cli("report", few, "--output", tmp_path / "b.html").code == 0
    parsed = needs_nothing_else((tmp_path / "b.html").read_text(encoding="utf-8"))
    assert "video" not in [tag for tag, _ in parsed.tags]
    assert 'pip install "emnist-diff[video]"' in parsed.text


def test_report_of_a_run_without_states(cli: Any, recorded: Callable[..., Path], tmp_path: Path) -> None:
    file = recorded(tmp_path / "t.h5", capture=Capture(samples=0))
    done = cli("report", file)
    assert done.code == 0, done.err
    parsed = needs_nothing_else((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "final image: mean" in parsed.text
    assert "no states" in parsed.text


def test_compare_says_what_differs(cli: Any, recorded: Callable[..., Path], tmp_path: Path) -> None:
    one = recorded(
        tmp_path / "one" / "t.h5", 5, config={"seed": 1, "scheduler": {"name": "ddim", "settings": {"eta": 0.0}}}
    )
    other = recorded(
        tmp_path / "two" / "t.h5",
        4,
        config={"seed": 2, "scheduler": {"name": "ddim", "settings": {"eta": 1.0}}},
        seed=5,
    )
    done = cli("compare", one, other, "--output", tmp_path / "c.html", "--json")
    assert done.code == 0, done.err
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert json.loads(done.out) == {"output": str(tmp_path / "c.html"), "bytes": len(page.encode())}
    parsed = needs_nothing_else(page)
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", page)
    cells = {head: re.findall(r"<td>(.*?)</td>", rest) for head, rest in rows}
    assert cells["scheduler.settings.eta"] == ["0.0", "1.0"]
    assert "scheduler.name" not in cells
    mean, other_mean, gap = cells["Σ ‖Δx‖₂"]
    expected = float(other_mean.split()[0]) - float(mean.split()[0])
    assert float(gap) == pytest.approx(expected, abs=2e-2)
    assert cells["trajectory/x"][1:] != []
    assert "4 samples of the same id" in parsed.text
    assert "sample 4 only in" in parsed.text
    assert any(a.get("alt") == "run distance" for _, a in parsed.tags)


def test_compare_of_three_is_with_the_first(
    cli: Any, recorded: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_drawn", lambda *_: ([], [], ""))  # the tables are what this is about
    files = [
        recorded(tmp_path / name / "t.h5", 5, config={"seed": seed, "steps": 6}, seed=seed)
        for seed, name in enumerate(("one", "two", "three"))
    ]
    done = cli("compare", *files, "--output", tmp_path / "c.html")
    assert done.code == 0, done.err
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    parsed = needs_nothing_else(page)
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", page)
    cells = {head: re.findall(r"<td>(.*?)</td>", rest) for head, rest in rows}
    assert cells["seed"] == ["0", "1", "2"]
    assert "steps" not in [head for head, values in cells.items() if values == ["6", "6", "6"]]
    *means, second, third = cells["Σ ‖Δx‖₂"]
    first, *others = (float(mean.split()[0]) for mean in means)
    assert [float(second), float(third)] == pytest.approx([mean - first for mean in others], abs=2e-2)
    assert "two − one" in parsed.text
    assert "one and three: 5 samples of the same id" in parsed.text
    assert "two and three" not in parsed.text


def test_compare_of_one_file_alone(cli: Any, few: Path, tmp_path: Path) -> None:
    done = cli("compare", few, "--output", tmp_path / "c.html")
    assert done.code == 2
    assert "emnist-diff report" in done.error
    assert not (tmp_path / "c.html").exists()


def test_a_page_in_place_of_a_directory(cli: Any, few: Path, many: Path, tmp_path: Path) -> None:
    """``--output .`` has no name of its own."""
    for place in (Path(), tmp_path):
        for command in (("report", few), ("compare", few, many)):
            done = cli(*command, "--output", place)
            assert done.code == 7
            assert "is a directory" in done.error


def test_compare_of_runs_that_share_nothing(cli: Any, recorded: Callable[..., Path], tmp_path: Path) -> None:
    one = recorded(tmp_path / "one.h5", 3, 4)
    other = recorded(tmp_path / "other.h5", 3, 5, shape=(7,), forces=())
    done = cli("compare", one, other, "--output", tmp_path / "c.html")
    assert done.code == 0, done.err
    parsed = needs_nothing_else((tmp_path / "c.html").read_text(encoding="utf-8"))
    assert "Not compared value by value" in parsed.text
    done = cli("compare", one, one, "--output", tmp_path / "d.html")
    assert done.code == 2
    assert "named twice" in done.error


def test_a_file_that_claims_much_is_refused(cli: Any, recorded: Callable[..., Path], tmp_path: Path) -> None:
    """Chunks that were never written take no room and can claim any size."""
    file = recorded(tmp_path / "t.h5", 3, 4, forces=(), capture=Capture(fields=frozenset({"x"})))
    with h5py.File(file, "r+") as data:
        del data["trajectory/x"]
        data.create_dataset("trajectory/x", (3, 5, 1, 4000, 4000), "f4", chunks=(1, 1, 1, 1000, 1000))
    for command in ("plot", "report"):
        done = cli(command, file, "--output", tmp_path / "out")
        assert done.code == 5, done.err
        assert "trajectory/x claims 960000000 bytes, of which 0 are stored" in done.error


def test_large_images_are_thinned(recorded: Callable[..., Path], tmp_path: Path, cli: Any) -> None:
    file = recorded(tmp_path / "t.h5", 2, 1, shape=(1, 20, 1000), forces=())
    done = cli("plot", file, "--plot", "class_grid", "--output", tmp_path)
    assert done.code == 0, done.err
