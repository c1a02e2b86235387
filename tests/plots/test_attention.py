"""Pictures of attention among places, of a small run of the shipped checkpoint."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff_plugins.plots.chosen import open_runs
from emnist_diff_plugins.plots.evolution_strip import EvolutionStrip
from emnist_diff_plugins.plots.figure import matplotlib
from emnist_diff_plugins.plots.self_attention import SelfAttention
from emnist_diff_plugins.plots.theme import theme
from emnist_diff_trajectory.attention import beside
from emnist_diff_trajectory.reader import Trajectory

SOME = ["evolution_strip", "self_attention", "attention_entropy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attended")


@pytest.fixture
def attended(cli: Any, folder: Path) -> Path:
    """The file of a run, with attention of two layers at every second step beside it."""
    path = folder / "A" / "trajectory.h5"
    if not path.exists():
        words = ("--character", "A", "--total-videos", 2, "--steps", 4, "--sink", "hdf5", "--output", folder)
        assert (done := cli("run", *words)).code == 0, done.error
        done = cli("attend", path, "--every", 2, "--layer", "down*", "--layer", "mid*", "--heads", "all")
        assert done.code == 0, done.error
    return path


def test_what_is_drawn_is_what_is_recorded(attended: Path):
    with ExitStack() as stack:
        (run,) = open_runs(stack, [attended], installed())
        plot = SelfAttention(places=((9, 14), (3, 25)), layers=("mid*",))
        assert plot.lacks([run]) == ""
        with Trajectory(beside(attended)) as file:
            recorded = file.activation("attention/mid_block.attentions.0.self", "own")[0].astype(np.float64).mean(1)
            down = file.activation("attention/down_blocks.2.attentions.0.self", "own")[0].astype(np.float64).mean(1)
        maps = plot._maps(run, 0, (9, 14))
        assert maps.shape == (2, 28, 28)
        np.testing.assert_allclose(maps[:, ::4, ::4], recorded[:, 2, 3] * 49, rtol=1e-4)
        np.testing.assert_allclose(maps.mean((1, 2)), 1, atol=2e-3)
        what, received = EvolutionStrip()._maps(run, 0)
        assert what == "attention\nreceived"
        both = (recorded.mean((1, 2)) + down.mean((1, 2))) / 2
        np.testing.assert_allclose(received[:, ::4, ::4], both * 49, rtol=1e-4)
        with Trajectory(beside(attended)) as file:
            apart = file.activation("attention/mid_block.attentions.0.self", "own")[0].astype(np.float64)
            entropy = file.activation("attention/mid_block.attentions.0.self_entropy", "own")[0].astype(np.float64)
        for head in (0, 3):
            one = SelfAttention(places=((9, 14),), layers=("mid*",), head=head, steps=(2,))._maps(run, 0, (9, 14))
            np.testing.assert_allclose(one[:, ::4, ::4], apart[1:, head, 2, 3] * 49, rtol=1e-4)
            (layer,) = (source := attrs.evolve(run.attended, head=head)).layers("self", ("mid*",))
            np.testing.assert_allclose(source.read(f"{layer.path}_entropy", 0, "own")[:, 0], entropy[:, head])


def test_steps_and_what_was_evaluated_are_written_on_the_picture(attended: Path):
    with ExitStack() as stack:
        (run,) = open_runs(stack, [attended], installed())
        figure = matplotlib().figure.Figure(layout="constrained")
        SelfAttention(grid=1, condition=None, head=1).draw(figure, [run], theme("light"))
    titles = [axis.get_title(loc="center") for axis in figure.axes[:2]]
    assert titles == ["0", "2"]
    assert figure.get_supxlabel() == "step, drawn over the state before it, evaluated for null, head 1"
    assert figure.axes[0].get_ylabel() == "A #0\nrow 14, column 14"


def test_drawn_from_either_file_and_without_states(cli: Any, attended: Path, tmp_path: Path):
    lone = tmp_path / "lone.attention.h5"
    shutil.copy(beside(attended), lone)
    chosen = [word for name in SOME for word in ("--plot", name)]
    for number, file in enumerate((attended, beside(attended), lone)):
        assert (done := cli("plot", file, *chosen, "--output", tmp_path / str(number))).code == 0, done.error
    for name in SOME:
        one, other, alone = ((tmp_path / where / f"{name}.png").read_bytes() for where in "012")
        assert one == other, name
        assert (one == alone) == (name == "attention_entropy")


@pytest.mark.parametrize(
    ("plot", "said"),
    [
        ("token_maps", "token_maps: needs cross attention"),
        ("self_attention:samples=[9]", "no attention of sample 9 is kept — of 0, 1"),
        ("self_attention:places=[[3,28]]", "place (3, 28) is outside of the 28×28 picture"),
        ('attention_entropy:layers=["up*"]', "unknown layer with recorded attention 'up*'"),
        ("self_attention:steps=[0,1]", "no attention of step 1 is kept — of 0, 2"),
        ("self_attention:head=-1", "'head' must be >= 0: -1"),
        ("attention_entropy:head=99", "head=99: down_blocks.2.attentions.0 has heads 0 … "),
        ("evolution_strip:condition=B", "unknown condition of trajectory.attention.h5: 'B'"),
    ],
)
def test_what_cannot_be_drawn(cli: Any, attended: Path, plot: str, said: str):
    done = cli("plot", attended, "--plot", plot)
    assert done.code == 2
    assert said in done.error
    assert len(done.error.strip().splitlines()) == 1


def test_a_head_where_the_mean_is_kept(cli: Any, attended: Path, tmp_path: Path):
    path = tmp_path / "trajectory.h5"
    shutil.copy(attended, path)
    assert cli("attend", path, "--every", 2, "--layer", "mid*").code == 0
    for name in SOME:
        done = cli("plot", path, "--plot", f"{name}:head=0", "--output", tmp_path)
        assert (done.code, done.error) == (
            2,
            f"emnist-diff: head=0: {beside(path)} keeps the mean of the heads of mid_block.attentions.0 alone — "
            f"emnist-diff attend {path} --heads all --overwrite",
        )


def test_files_without_attention_and_of_another_run(cli: Any, attended: Path, few: Path, tmp_path: Path):
    alone = tmp_path / "trajectory.h5"
    shutil.copy(few, alone)
    done = cli("plot", alone, "--plot", "self_attention")
    assert done.code == 2
    assert f"self_attention: needs attention (emnist-diff attend {alone})" in done.error
    shutil.copy(beside(attended), beside(alone))
    done = cli("plot", alone, "--plot", "self_attention")
    assert done.code == 2
    assert "is of another (emnist-diff attend" in done.error
    beside(alone).write_bytes(b"no HDF5 at all")
    done = cli("plot", alone, "--plot", "self_attention", "--plot", "class_grid")
    assert done.code == 0
    assert "attention that can be read" in done.error
