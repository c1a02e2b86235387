"""Plots drawn: the same bytes each time, as stored pictures have them, in every theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import matplotlib
import numpy as np
import pytest
from PIL import Image

from emnist_diff.discovery import installed
from emnist_diff_plugins.contract import PlotSpec
from emnist_diff_plugins.plots.chosen import Chosen, choose, names, open_runs
from emnist_diff_plugins.plots.figure import FORMATS, render
from emnist_diff_plugins.plots.runs import Run, shown
from emnist_diff_plugins.plots.theme import THEMES, Theme
from emnist_diff_trajectory.schema import Capture

REFERENCES = Path(__file__).parent / "references"
TOLERANCE = 0.02
"""Mean difference of brightness, 0 to 1, after blurring: versions of matplotlib set text a little differently."""


@pytest.fixture
def opened() -> Iterator[Callable[..., list[Run]]]:
    """Files as runs, open as long as the test."""
    with ExitStack() as stack:
        yield lambda *files: open_runs(stack, files, installed())


def small(name: str, dpi: int = 50) -> Theme:
    """A theme for quick pictures."""
    return attrs.evolve(THEMES[name], dpi=dpi)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64) / 255.0


def all_of(runs: Sequence[Run]) -> Chosen:
    return choose(installed(), (), runs)


@pytest.mark.parametrize("theme", THEMES)
def test_every_plot_is_drawn_in_every_theme(theme: str, few: Path, many: Path, opened: Any) -> None:
    """Few samples, many, and two runs side by side, turn by turn over themes."""
    files = {"dark": (few,), "light": (many,), "paper": (few, many)}[theme]
    runs = opened(*files)
    look = small(theme, 25)
    background = np.array([int(look.figure[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    drawn = all_of(runs).drawn
    assert len(drawn) >= 14
    for name, plot in drawn.items():
        image = pixels(render(plot, runs, look))
        assert np.allclose(image[0, -1], background), name
        assert (np.abs(image - background).max(axis=-1) > 0.1).mean() > 0.02, f"{name} is empty"


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_are_the_same_each_time(format: str, few: Path, opened: Any) -> None:
    """Without dates, whatever the user's own matplotlib is set to."""
    runs = opened(few)
    plot = all_of(runs).drawn["cumulative_l2"]
    first = render(plot, runs, small("dark"), format)
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "font.size": 20}):
        assert render(plot, runs, small("dark"), format) == first
    assert not re.search(rb"20\d\d-\d\d-\d\d|CreationDate", first)


@pytest.mark.parametrize(
    ("name", "theme", "which"),
    [
        ("latent_l2_per_step", "dark", "many"),
        ("force_ledger", "light", "few"),
        ("trajectories_pca", "paper", "few"),
        ("basin_trace", "light", "many"),
        ("denoising_strips", "dark", "few"),
    ],
)
def test_plots_look_like_the_stored_ones(
    name: str, theme: str, which: str, request: pytest.FixtureRequest, opened: Any, tmp_path: Path
) -> None:
    """To renew a picture that has changed on purpose, copy what the test left behind."""
    runs = opened(request.getfixturevalue(which))
    png = render(all_of(runs).drawn[name], runs, small(theme))
    left = tmp_path / f"{name}.png"
    left.write_bytes(png)
    stored = Image.open(REFERENCES / f"{name}.png").convert("RGB")
    found = Image.open(left).convert("RGB")
    assert found.size == stored.size
    size = (stored.width // 4, stored.height // 4)
    one, other = (np.asarray(i.resize(size, Image.Resampling.BOX), dtype=np.float64) / 255.0 for i in (found, stored))
    assert np.abs(one - other).mean() < TOLERANCE, f"compare {left} with {REFERENCES / left.name}"


def test_references_tell_other_data_apart(
    many: Path, recorded: Callable[..., Path], opened: Any, tmp_path: Path
) -> None:
    """The tolerance would not let a changed curve pass."""
    runs = opened(recorded(tmp_path / "t.h5", 60, 20, classes=tuple("ABCDEFGH"), seed=9, forces=()))
    runs[0].__dict__["_displacements"] = (runs[0].latent_l2[:, ::-1] ** 2, None)
    png = render(all_of(runs).drawn["latent_l2_per_step"], runs, small("dark"))
    stored = pixels((REFERENCES / "latent_l2_per_step.png").read_bytes())
    assert np.abs(pixels(png) - stored).mean() > TOLERANCE


def test_names_from_files_are_drawn_as_they_are(recorded: Callable[..., Path], opened: Any, tmp_path: Path) -> None:
    """No formulas, no entries that matplotlib hides, no control characters, nothing endless."""
    odd = ("$\\frac{", "_hidden", "a\nb\x1b[31m", "字" * 2000)
    runs = opened(recorded(tmp_path / "t.h5", 8, classes=odd))
    drawn = all_of(runs).drawn
    for name in ("class_grid", "denoising_strips", "basin_trace", "trajectories_pca"):
        assert render(drawn[name], runs, small("light", 25)), name
    assert shown(odd[2]) == "a�b�[31m"
    assert shown(odd[3]) == "字" * 14 + "…"


def test_one_step_of_one_sample(recorded: Callable[..., Path], opened: Any, tmp_path: Path) -> None:
    runs = opened(recorded(tmp_path / "t.h5", 1, 1, classes=("A",)))
    chosen = all_of(runs)
    assert chosen.left_out["l2_velocity"] == "two kept steps"
    assert chosen.left_out["basin_trace"] == "samples of two classes"
    for name in ("inference_dashboard", "trajectories_pca", "force_ledger", "denoising_strips", "class_grid"):
        assert render(chosen.drawn[name], runs, small("light", 25)), name


def drawn_on(name: str, runs: Sequence[Run]) -> Any:
    """The figure of a plot, for a look at what is on it."""
    from matplotlib.figure import Figure

    plot = all_of(runs).drawn[name]
    with matplotlib.rc_context(THEMES["light"].rc):
        width, height = plot.size(runs)
        figure = Figure(figsize=(width * 4.6, height * 4.6), layout="constrained")
        plot.draw(figure, runs, THEMES["light"])
        figure.draw_without_rendering()
    return figure


def test_forces_of_one_step_are_seen(recorded: Callable[..., Path], opened: Any, tmp_path: Path) -> None:
    """An area over a single step would have no width, a line through one point no length."""
    runs = opened(recorded(tmp_path / "t.h5", 1, 1, classes=("A",)))
    upper, lower = drawn_on("force_ledger", runs).axes
    heights = [bar.get_height() for bar in upper.patches]
    np.testing.assert_allclose(heights, [norms[0, 0] for norms in runs[0].force_norms()])
    assert [bar.get_y() for bar in upper.patches] == pytest.approx([0.0, heights[0]])
    assert all(line.get_marker() != "None" for line in lower.get_lines())


def test_an_axis_of_rounding_alone_is_flat(recorded: Callable[..., Path], opened: Any, tmp_path: Path) -> None:
    """Two states lie on a line; what the second axis holds is no structure to zoom in on."""
    (axis,) = drawn_on("trajectories_pca", opened(recorded(tmp_path / "t.h5", 1, 1, classes=("A",)))).axes
    assert axis.get_ylim() == (-1.0, 1.0)
    assert axis.get_ylabel() == "PC 2 (0%)"


@pytest.mark.parametrize("samples", [1, 10])
def test_the_title_of_a_grid_is_not_cut_off(
    samples: int, recorded: Callable[..., Path], opened: Any, tmp_path: Path
) -> None:
    figure = drawn_on("class_grid", opened(recorded(tmp_path / "t.h5", samples, 1, classes=("A",))))
    (axis,) = figure.axes
    shown_in = axis.title if axis.title.get_text() else axis._left_title
    assert shown_in.get_text() == f"Final images ({samples} image{'' if samples == 1 else 's'})"
    assert shown_in.get_window_extent().x1 <= figure.bbox.x1


def test_means_do_not_cross_the_legend(few: Path, many: Path, opened: Any) -> None:
    for axis in drawn_on("final_image_stats", opened(few, many)).axes:
        bars = max(patch.get_path().vertices[:, 1].max() for patch in axis.patches)
        tops = [line.get_ydata()[-1] for line in axis.get_lines()]
        assert len(tops) == 2
        assert max(tops) <= 1.06 * bars < axis.get_ylim()[1] / 1.2


def test_displacements_over_several_steps_are_named_so(
    recorded: Callable[..., Path], opened: Any, tmp_path: Path
) -> None:
    whole = opened(recorded(tmp_path / "whole.h5"))
    some = opened(recorded(tmp_path / "some.h5", capture=Capture(every=3)))
    assert drawn_on("latent_l2_per_step", whole).axes[0].get_ylabel() == "‖Δx‖₂ a step"
    assert drawn_on("latent_l2_per_step", some).axes[0].get_ylabel() == "‖Δx‖₂ between kept states"


def test_a_state_that_does_not_move(recorded: Callable[..., Path], opened: Any, tmp_path: Path) -> None:
    import h5py

    path = recorded(tmp_path / "t.h5", 10, forces=())
    with h5py.File(path, "r+") as file:
        file["trajectory/x"][...] = 0.25
        file["images"][...] = 159
    runs = opened(path)
    assert not runs[0].latent_l2.any()
    for name in ("latent_l2_per_step", "trajectories_pca", "final_image_stats", "l2_velocity", "basin_trace"):
        assert render(all_of(runs).drawn[name], runs, small("light", 25)), name


def test_every_plot_is_in_the_docs() -> None:
    """In the order in which they are drawn."""
    page = (Path(__file__).parents[2] / "docs" / "plots.md").read_text(encoding="utf-8")
    specs = [e.spec for e in installed().entries if isinstance(e.spec, PlotSpec) and e.spec.of == "trajectories"]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [spec.name for spec in specs]


def test_short_names_tell_files_apart() -> None:
    paths = [Path("/a/one/trajectory.h5"), Path("/a/two/trajectory.h5")]
    assert names(paths) == ["one", "two"]
    assert names([Path("/a/x/t.h5"), Path("/b/x/t.h5"), Path("/c/y/t.h5")]) == ["a/x", "b/x", "c/y"]
    assert names([Path("/1/a/x/t.h5"), Path("/2/a/x/t.h5"), Path("/2/c/y/t.h5")]) == ["1: x", "2: x", "3: y"]
    long = "z" * 40  # of which a legend shows the first letters alone
    assert names([Path(f"/{long}1.h5"), Path(f"/{long}2.h5")]) == [f"1: {long}1", f"2: {long}2"]
    assert names([Path("/a/b.h5"), Path("/a/c.h5")]) == ["b", "c"]
