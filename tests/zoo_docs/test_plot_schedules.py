"""``run --plot-schedules``: the right curves, drawn without a network."""

from __future__ import annotations

import io
import math
import sys

import numpy as np
import pytest
from PIL import Image

from emnist_diff.discovery import installed
from emnist_diff_plugins.analysis.curves import panels
from emnist_diff_plugins.analysis.schedules import SchedulesPlot
from emnist_diff_plugins.forecast import preview
from emnist_diff_plugins.layers import configure

MIXTURE = {"name": "gaussian-mixture", "shape": [2], "classes": "ABCDEFGH"}
STEPS = 11


def laid_out(**said):
    """A run of 11 steps on eight classes."""
    settings = {"denoiser": MIXTURE, "steps": STEPS, "total_videos": 2, **said}
    return preview(installed(), configure(installed(), settings)[0])


def curves(**said):
    """Every curve of a run by its label."""
    return {curve.label: curve.values for panel in panels(laid_out(**said)) for curve in panel.curves}


def test_a_directions_weight_is_that_of_the_force_times_its_own():
    ramp = {"kind": "ramp", "start": 0, "end": 3}
    found = curves(
        base="cfg",
        guidance_scale=2.5,
        forces=[
            {"name": "attract_class", "target": "B", "strength": ramp, "weight": {"kind": "window", "to": 0.5}},
            {"name": "repel_class", "target": "own", "weight": 0.5},
            {"name": "attract_class", "target": "C", "weight": 2},
        ],
    )
    frac = np.linspace(0, 1, STEPS)
    assert found.keys() == {
        "base cfg → own", "attract_class #1 → B", "attract_class #1: strength", "repel_class → own",
        "attract_class #2 → C",
    }  # fmt: skip
    np.testing.assert_allclose(found["attract_class #1 → B"], np.where(frac <= 0.5, 3 * frac, 0), atol=1e-12)
    np.testing.assert_allclose(found["attract_class #1: strength"], 3 * frac, atol=1e-12)
    assert set(found["repel_class → own"]) == {-0.5}
    assert set(found["attract_class #2 → C"]) == {2.0}
    assert set(found["base cfg → own"]) == {2.5}


def test_classes_that_take_turns_have_a_curve_each():
    found = curves(base="uncond", forces=[{"name": "switch_two", "target": "A", "secondary": "B", "strength": 2}])
    assert found.keys() == {"switch_two → A", "switch_two → B"}  # base uncond weighs nothing, and is left out
    assert found["switch_two → A"].tolist() == [2.0] * 5 + [0.0] * 6
    assert found["switch_two → B"].tolist() == [0.0] * 5 + [2.0] * 6


def test_many_classes_share_one_name():
    (panel,) = panels(laid_out(base="uncond", forces=[{"name": "cycle_classes"}]))
    assert len(panel.curves) == 8
    assert [c.label for c in panel.curves if c.label] == ["cycle_classes → 8 classes"]
    assert all(curve.minor for curve in panel.curves)
    assert np.array_equal(sum(curve.values for curve in panel.curves), np.ones(STEPS))


def test_drifts_show_the_noise_that_they_add_and_a_weight_that_is_not_one():
    found = curves(
        base="uncond",
        drifts=[
            {"name": "oscillatory", "noise_scale": 0.4, "cycles": 1},
            {"name": "late_noise", "noise_scale": 0.2, "skip_last": False, "weight": 0.5},
            {"name": "clamp"},
            {"name": "decay_only", "decay": {"kind": "ramp", "start": 0.2, "end": 0}},
        ],
    )
    steps = np.arange(STEPS)
    wave = np.abs(0.4 * np.sin(2 * math.pi * steps / STEPS))
    wave[-1] = 0.0  # the last step is skipped
    np.testing.assert_allclose(found["oscillatory: noise added (std)"], wave, atol=1e-12)
    np.testing.assert_allclose(found["time_scaled: noise added (std)"], 0.1 * steps / STEPS, atol=1e-12)
    assert set(found["time_scaled: weight"]) == {0.5}
    assert set(found["clamp: weight"]) == {1.0}  # all there is to say of it
    assert "decay_only: weight" not in found
    np.testing.assert_allclose(found["decay_only: decay"], np.linspace(0.2, 0, STEPS), atol=1e-12)


def test_forces_that_know_no_classes_show_their_settings():
    found = curves(forces=[{"name": "drift_noise", "sigma": {"kind": "ramp", "start": 0.1, "end": 0}}], clip_norm=1)
    assert found.keys() == {"base cfg → own", "drift_noise: sigma"}


def test_a_run_without_steering_still_has_a_curve():
    assert curves(base="uncond").keys() == {"base uncond → own"}
    assert set(curves(base="cond")["base cond → own"]) == {1.0}


@pytest.mark.parametrize(
    "said",
    [
        {"base": "uncond"},
        {"steps": 1, "forces": [{"name": "attract_class", "target": "B"}]},
        {"forces": [{"name": "cycle_classes"}, {"name": "drift_noise", "sigma": 0.1}], "drifts": [{"name": "clamp"}]},
    ],
    ids=["nothing", "one step", "three panels"],
)
def test_a_picture_has_a_panel_for_each_kind_of_curve(said):
    layout = laid_out(**said)
    with Image.open(io.BytesIO(SchedulesPlot(dpi=50).png(layout))) as picture:
        picture.load()
        assert picture.size == (400, round(50 * (0.9 + 2.5 * len(panels(layout)))))
        assert len(picture.convert("RGB").getcolors(1 << 16)) > 20  # lines, letters and their soft edges


def test_the_command_draws_without_loading_a_network(cli, tmp_path, monkeypatch):
    def refuse(path):
        raise AssertionError("weights were read")

    monkeypatch.setattr("emnist_diff_plugins.containers.checkpoint.load", refuse)
    target = tmp_path / "pictures" / "out.png"
    finished = cli(
        *("run", "--preset", "crystallize", "--preset-args", '{"a": "O", "b": "X"}', "--plot-schedules", target),
        *("--output", tmp_path / "output"),
    )
    assert finished.code == 0, finished.err
    assert target.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "output").exists()


def test_a_dry_run_may_be_drawn_too(cli, tmp_path):
    finished = cli(
        *("run", "--denoiser", "gaussian-mixture:shape=[2],classes=AB", "--steps", "3", "--dry-run"),
        *("--plot-schedules", tmp_path / "out.png"),
    )
    assert finished.code == 0, finished.err
    assert (tmp_path / "out.png").exists()
    assert finished.out.startswith("{")


def test_what_is_wrong_is_said_before_anything_is_drawn(cli, tmp_path):
    refused = cli("run", "--force", "attract_class:target=Ä", "--plot-schedules", tmp_path / "out.png")
    assert refused.code == 2
    assert "'Ä'" in refused.error
    assert not (tmp_path / "out.png").exists()


def test_without_matplotlib_one_line_says_what_to_install(cli, tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    refused = cli("run", "--plot-schedules", tmp_path / "out.png")
    assert refused.code == 3
    assert "matplotlib" in refused.error
    assert "emnist-diff[plots]" in refused.error
    assert not (tmp_path / "out.png").exists()
