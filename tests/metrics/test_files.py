"""The sink and the command: the same numbers, whole files, and nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from emnist_diff.discovery import installed
from emnist_diff.errors import OutputError
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.metrics.join import measure
from emnist_diff_plugins.metrics.tables import read_csv, stacked, write_table

NAMES = ("video_metrics.csv", "step_metrics.csv")


@pytest.fixture(scope="module")
def file(recorded) -> Path:
    return recorded / "trajectory.h5"


def test_the_sink_and_the_command_give_the_same_numbers(cli, recorded, measured, times, tmp_path):
    done = cli("metrics", recorded / "trajectory.h5", "--output", tmp_path)
    assert (done.code, done.err) == (0, "")
    for name, count in zip(NAMES, (7, 35), strict=True):
        live, after = measured.rows(recorded / "metrics" / name), measured.rows(tmp_path / name)
        assert len(live) == count
        assert live == after  # times too, which the sink left beside the file
    reports = [
        json.loads((folder / "inference_metrics.json").read_text()) for folder in (recorded / "metrics", tmp_path)
    ]
    assert reports[0] == reports[1]
    assert reports[0]["total_wall_time_sec"] > 0
    live = measured.rows(recorded / "metrics" / "step_metrics.csv")
    assert all(row["delta_pixel_l2"] and row["force_00_attract_class_share"] and row["wall_dt"] for row in live)
    seconds = measured.column(live, "wall_dt").reshape(7, 5)
    assert (np.diff(seconds) > 0).all()


def test_times_of_other_runs_are_not_taken(cli, file, recorded, measured, times, tmp_path):
    (tmp_path / "trajectory.h5").write_bytes(file.read_bytes())
    (tmp_path / "metrics").mkdir()
    for name in NAMES:
        text = (recorded / "metrics" / name).read_text()
        run = text.splitlines()[1].rpartition(",")[2]
        (tmp_path / "metrics" / name).write_text(text.replace(run, "0" * 12))
    assert cli("metrics", tmp_path / "trajectory.h5", "--overwrite").code == 0
    for name in NAMES:
        rows = measured.rows(tmp_path / "metrics" / name)
        assert {row[key] for row in rows for key in row.keys() & set(times)} == {""}


def test_an_export_gives_them_too(cli, file, recorded, measured, times, tmp_path):
    assert cli("export", file, "--metrics", "--output", tmp_path).code == 0
    for name in NAMES:
        live = measured.rows(recorded / "metrics" / name, but=times)
        assert measured.rows(tmp_path / "metrics" / name, but=times) == live
    assert {row["wall_dt"] for row in measured.rows(tmp_path / "metrics" / NAMES[1])} == {""}


def test_the_documented_columns_come_first_and_the_json_is_plain(recorded, measured):
    videos = measured.rows(recorded / "metrics" / "video_metrics.csv")
    assert list(videos[0])[:14] == [
        *("vid_id", "seed", "label", "character", "generation_time_sec", "total_steps", "captured_frames"),
        *("final_mean", "final_std", "final_min", "final_max", "total_latent_l2", "total_pixel_l2", "gpu_mem_peak_mb"),
    ]
    steps = measured.rows(recorded / "metrics" / "step_metrics.csv")
    assert list(steps[0])[:13] == [
        *("vid_id", "step_index", "timestep", "wall_dt", "delta_x_l2", "delta_x_mean", "delta_x_std", "delta_x_min"),
        *("delta_x_max", "delta_pixel_l2", "alpha_t", "beta_t", "alpha_cumprod_t"),
    ]

    def refuse(constant):
        raise AssertionError(constant)

    text = (recorded / "metrics" / "inference_metrics.json").read_text()
    data = json.loads(text, parse_constant=refuse)
    assert {"character", "config", "total_videos", "total_wall_time_sec", "videos", "summary"} <= data.keys()
    assert data["character"] == ["A", "B"]
    assert data["summary"]["num_videos"] == data["total_videos"] == len(data["videos"]) == 7
    totals = [float(row["total_latent_l2"]) for row in videos]
    assert data["summary"]["avg_total_latent_l2"] == pytest.approx(np.mean(totals), rel=1e-12)
    assert data["summary"]["gpu_peak_mb"] is None or data["summary"]["gpu_peak_mb"] > 0
    of_b = [v for v, row in zip(totals, videos, strict=True) if row["character"] == "B"]
    group = data["groups"]["character"]["B"]["total_latent_l2"]
    assert group["count"] == 3
    assert group["q25"] == pytest.approx(np.quantile(of_b, 0.25), rel=1e-12)
    assert list(data["groups"]["stack"]) == ["attract_class+repel_class+default"]


def test_metrics_agree_with_the_states_in_the_file(file, recorded, measured):
    rows = measured.rows(recorded / "metrics" / "step_metrics.csv")
    with h5py.File(file) as held:
        x = held["trajectory/x"][:].astype(np.float64)
        f = held["forces/00_attract_class/contribution"][:].astype(np.float64)
    moved = np.diff(x, axis=1).reshape(7, 5, -1)
    np.testing.assert_allclose(
        measured.column(rows, "delta_x_l2").reshape(7, 5), np.linalg.norm(moved, axis=-1), rtol=1e-12
    )
    shown = np.rint(np.clip((x + 1) / 2, 0, 1).astype(np.float32) * 255)
    change = np.linalg.norm(np.diff(shown, axis=1).reshape(7, 5, -1), axis=-1)
    np.testing.assert_allclose(measured.column(rows, "delta_pixel_l2").reshape(7, 5), change, rtol=0.02, atol=1.5)
    lengths = np.linalg.norm(f.reshape(7, 5, -1), axis=-1)
    np.testing.assert_allclose(measured.column(rows, "force_00_attract_class_l2").reshape(7, 5), lengths, rtol=1e-12)


def test_a_first_order_walk_is_displaced_as_the_metrics_say(measured, tmp_path):
    """DDIM moves the state by exactly what base and forces displace, when nothing is drawn and nothing drifts."""
    folder = measured.run(tmp_path, "hdf5", scheduler="ddim", drifts=[], base="uncond", forces=[
        {"name": "attract_class", "target": "B", "strength": 2.0}])  # fmt: skip
    plain = measured.run(tmp_path / "plain", "hdf5", scheduler="ddim", drifts=[], base="uncond", forces=[])
    table = measure([folder / "trajectory.h5"], installed(), scorers=()).steps
    with h5py.File(folder / "trajectory.h5") as a, h5py.File(plain / "trajectory.h5") as b:
        apart = (a["trajectory/x"][:, 1] - b["trajectory/x"][:, 1]).reshape(7, -1)
    first = table["force_00_attract_class_displacement_l2"].reshape(7, 5)[:, 0]
    np.testing.assert_allclose(first, np.linalg.norm(apart, axis=1), rtol=1e-3)


def test_interrupted_and_resumed_gives_the_same_tables(recorded, measured, times, tmp_path):
    whole = measured.run(tmp_path, "metrics") / "metrics"
    for name in NAMES:  # three samples are whole; of a fourth there are some steps, and then half a line
        lines = (whole / name).read_text().splitlines(keepends=True)
        kept = 1 + (3 if name == NAMES[0] else 17)
        (whole / name).write_text("".join(lines[:kept]) + lines[kept][:9])
    measured.run(tmp_path, "metrics", resume=True)
    for name in NAMES:

        def order(row):
            return int(row["vid_id"]), int(row.get("step_index", 0))

        again = sorted(measured.rows(whole / name, but=times), key=order)
        assert again == measured.rows(recorded / "metrics" / name, but=times)
    assert json.loads((whole / "inference_metrics.json").read_text())["total_videos"] == 7


def test_a_resumed_run_takes_what_it_lacks_from_the_trajectory(recorded, measured, times, tmp_path):
    measured.run(tmp_path, "hdf5")
    folder = measured.run(tmp_path, "hdf5", "metrics", resume=True)
    rows = measured.rows(folder / "metrics" / NAMES[1], but=times)
    assert rows == measured.rows(recorded / "metrics" / NAMES[1], but=times)
    assert {row["generation_time_sec"] for row in measured.rows(folder / "metrics" / NAMES[0])} == {""}


def test_little_memory_gives_the_same_tables(recorded, measured, times, tmp_path, monkeypatch):
    from emnist_diff_plugins.metrics import reading, sink

    monkeypatch.setattr(sink, "_BYTES", 1)
    monkeypatch.setattr(reading, "_BYTES", 1)
    folder = measured.run(tmp_path, "hdf5", "metrics")
    found = measure([folder / "trajectory.h5"], installed(), scorers=()).videos
    for name in NAMES:
        expected = measured.rows(recorded / "metrics" / name, but=times)
        assert measured.rows(folder / "metrics" / name, but=times) == expected
    whole = measured.column(measured.rows(recorded / "metrics" / NAMES[0]), "total_latent_l2")
    np.testing.assert_array_equal(found["total_latent_l2"], whole)


def test_latents_are_seen_through_their_codec(cli, measured, tmp_path):
    """States of two numbers each, which the model that made them shows."""
    denoiser = {"name": "gaussian-mixture", "shape": [2], "classes": "AB"}
    folder = measured.run(tmp_path, "hdf5", "metrics", denoiser=denoiser, forces=[])
    live = measured.rows(folder / "metrics" / NAMES[1], but=("wall_dt",))
    done = cli("metrics", folder / "trajectory.h5", "--output", tmp_path / "after")
    assert done.code == 0
    assert measured.rows(tmp_path / "after" / NAMES[1], but=("wall_dt",)) == live
    assert all(row["delta_x_l2"] and row["delta_pixel_l2"] for row in live)
    assert "have no places" in cli("attribution", folder / "trajectory.h5").error


def test_latents_whose_codec_is_not_there_have_no_pixels(cli, measured, tmp_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("far") / "from" / "here" / "latents.safetensors"  # where no search comes
    path.parent.mkdir(parents=True)
    header = checkpoint.CheckpointHeader(
        family="gaussian-mixture",
        network={"shape": [2], "classes": "AB"},
        classes=("A", "B"),
        null_index=2,
        schedule=NoiseSchedule(beta_schedule="linear", clip_sample=None),
    )
    checkpoint.save(path, header, {"nothing": torch.zeros(1)})
    folder = measured.run(tmp_path, "hdf5", "metrics", denoiser=None, checkpoint=str(path), forces=[])
    live = measured.rows(folder / "metrics" / NAMES[1])
    done = cli("metrics", folder / "trajectory.h5", "--output", tmp_path / "blind")
    assert done.code == 0
    assert "metrics.no_pixels" in done.err
    blind = measured.rows(tmp_path / "blind" / NAMES[1])
    assert blind == [{**row, "delta_pixel_l2": ""} for row in live]
    assert cli("metrics", folder / "trajectory.h5", "--output", tmp_path / "seen", "--checkpoint", path).code == 0
    assert measured.rows(tmp_path / "seen" / NAMES[1]) == live


def test_what_is_there_is_not_overwritten_or_mixed(measured, tmp_path):
    measured.run(tmp_path, "metrics")
    with pytest.raises(OutputError, match="use --resume to continue"):
        measured.run(tmp_path, "metrics")
    with pytest.raises(OutputError, match="belongs to another run"):
        measured.run(tmp_path, "metrics", resume=True, seed=5)
    with pytest.raises(OutputError, match=r"was written with other settings \(fields: .*'x' here\)"):
        measured.run(tmp_path, {"name": "metrics", "fields": ["x"]}, resume=True)


def test_workers_tables_are_joined(cli, recorded, measured, times, tmp_path):
    for rank in (0, 1):
        folder = measured.run(tmp_path, "hdf5", "metrics", rank=rank, world_size=2)
    done = cli("metrics", folder / "metrics", "--json")
    assert json.loads(done.out)["samples"] == 7
    for name in NAMES:
        joined = measured.rows(folder / "metrics" / name, but=times)
        assert joined == measured.rows(recorded / "metrics" / name, but=times)
    joined = json.loads((folder / "metrics" / "inference_metrics.json").read_text())
    assert joined["config"]["total_videos"] == joined["total_videos"] == 7
    shards = sorted((folder / "metrics").glob("inference_metrics-*.json"))
    slowest = max(json.loads(path.read_text())["total_wall_time_sec"] for path in shards)
    assert joined["summary"]["total_wall_sec"] == slowest
    files = sorted(folder.glob("*.h5"))
    assert cli("metrics", *files, "--output", tmp_path / "files").code == 0
    assert measured.rows(tmp_path / "files" / NAMES[1], but=times) == measured.rows(
        recorded / "metrics" / NAMES[1], but=times
    )
    twice = cli("metrics", files[0], files[0], "--output", tmp_path / "twice")
    assert twice.code == 5
    assert "both hold sample 0 of one run" in twice.error


def test_several_runs_stand_in_one_table(measured, recorded, tmp_path):
    other = measured.run(tmp_path, "hdf5", forces=[], drifts=[])
    found = measure([recorded / "trajectory.h5", other / "trajectory.h5"], installed())
    assert len(set(found.videos["run"])) == 2
    assert set(found.videos["stack"]) == {"none", "attract_class+repel_class+default"}
    assert len(found.config) == 2
    unsteered = found.videos["run"][found.videos["stack"] == "none"][0]
    assert np.isnan(found.steps["force_00_attract_class_l2"][found.steps["run"] == unsteered]).all()


def test_steps_are_grouped_by_class_stack_or_run(cli, file, measured, tmp_path):
    other = measured.run(tmp_path, "hdf5", forces=[], drifts=[]) / "trajectory.h5"
    assert cli("metrics", file, other, "--by", "stack", "--output", tmp_path / "by").code == 0
    rows = measured.rows(tmp_path / "by" / "step_groups.csv")
    assert {row["group"] for row in rows} == {"none", "attract_class+repel_class+default"}
    steps = measured.rows(tmp_path / "by" / "step_metrics.csv")
    plain = next(row["run"] for row in steps if not row["force_00_attract_class_l2"])
    expected = [float(row["delta_x_l2"]) for row in steps if row["run"] == plain and row["step_index"] == "2"]
    row = next(r for r in rows if (r["group"], r["step_index"], r["metric"]) == ("none", "2", "delta_x_l2"))
    assert int(row["count"]) == 7
    assert float(row["median"]) == pytest.approx(np.median(expected), rel=1e-12)
    assert "character, stack, run" in cli("metrics", file, "--by", "preset").error


def test_an_index_of_merged_files_is_one_file(cli, recorded, measured, times, tmp_path):
    for rank in (0, 1):
        folder = measured.run(tmp_path, "hdf5", rank=rank, world_size=2)
    assert cli("merge", folder).code == 0
    assert cli("metrics", folder / "trajectory.h5").code == 0
    for name in NAMES:
        expected = measured.rows(recorded / "metrics" / name, but=times)
        assert measured.rows(folder / "metrics" / name, but=times) == expected


def test_missing_fields_leave_columns_empty_and_one_line(cli, measured, tmp_path):
    folder = measured.run(tmp_path, {"name": "hdf5", "fields": ["x"]})
    done = cli("metrics", folder / "trajectory.h5")
    assert done.code == 0
    assert done.error.startswith("note: ")
    for said in ("x0_l2, x0_change_l2 (x0)", "prediction_l2 (prediction)", "(forces)", "(drifts)"):
        assert said in done.error
    rows = measured.rows(folder / "metrics" / NAMES[1])
    assert all(row["delta_x_l2"] and not row["x0_l2"] and not row["force_00_attract_class_l2"] for row in rows)


def test_kept_steps_and_samples_alone_are_measured(measured, tmp_path):
    folder = measured.run(tmp_path, {"name": "hdf5", "every": 2, "samples": [1, 4], "dtype": "float16"})
    found = measure([folder / "trajectory.h5"], installed())
    assert found.videos["vid_id"].tolist() == [1, 4]
    assert found.lacking[0] == f"{folder / 'trajectory.h5'}: 5 of 7 samples left out, whose states are not kept"
    assert found.steps["step_index"].tolist() == [0, 2, 4] * 2
    assert found.steps["step_end"].tolist() == [2, 4, 5] * 2
    assert found.videos["captured_frames"].tolist() == [3, 3]
    with h5py.File(folder / "trajectory.h5") as held:
        x = held["trajectory/x"][0].astype(np.float64).reshape(4, -1)
    np.testing.assert_allclose(found.steps["delta_x_l2"][:3], np.linalg.norm(np.diff(x, axis=0), axis=1), rtol=1e-12)


@pytest.mark.parametrize("name", ["foreign", "truncated", "unfinished"])
def test_foreign_and_partial_files_are_refused_in_one_line(cli, file, measured, tmp_path, name):
    path = tmp_path / "trajectory.h5"
    data = file.read_bytes()
    path.write_bytes({"foreign": b"no", "truncated": data[: len(data) // 2], "unfinished": data}[name])
    if name == "unfinished":
        with h5py.File(path, "r+") as held:
            held["samples/steps_done"][:] = 0
    done = cli("metrics", path)
    assert done.code == 5
    assert "trajectory.h5" in done.error
    assert not (tmp_path / "metrics").exists()


def test_states_that_are_not_finite_are_refused(cli, file, tmp_path):
    path = tmp_path / "trajectory.h5"
    path.write_bytes(file.read_bytes())
    with h5py.File(path, "r+") as held:
        held["trajectory/x"][2, 1] = np.nan
    assert "trajectory/x is not finite" in cli("metrics", path).error


def test_settings_that_cannot_be_met(cli, file, tmp_path, monkeypatch):
    assert "csv, json, parquet" in cli("metrics", file, "--format", "xls").error
    assert "did you mean 'mse_pixel'" in cli("metrics", file, "--scorers", "mse_pixl", "--output", tmp_path).error
    assert "needs trajectory files" in cli("metrics", tmp_path, "--basin", "own").error
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    missing = cli("metrics", file, "--format", "parquet", "--output", tmp_path)
    assert missing.code == 3
    assert 'pip install pyarrow, or "emnist-diff[parquet]"' in missing.error
    assert list(tmp_path.iterdir()) == []


def test_a_second_time_needs_overwrite(cli, file, tmp_path):
    assert cli("metrics", file, "--output", tmp_path, "--format", "json").code == 0
    again = cli("metrics", file, "--output", tmp_path, "--format", "json")
    assert again.code == 7
    assert "use --overwrite" in again.error
    assert cli("metrics", file, "--output", tmp_path, "--format", "json", "--overwrite").code == 0
    rows = json.loads((tmp_path / "step_metrics.json").read_text())["rows"]
    assert rows[0]["delta_x_cos"] is None
    assert isinstance(rows[0]["step_index"], int)


def test_tables_come_back_as_they_were_written(tmp_path):
    table = {
        "vid_id": np.array([3, 4]),
        "seed": np.array([2**64 - 1, 0], np.uint64),
        "character": np.array(["a,b", 'q"'], object),
        "value": np.array([0.1 + 0.2, np.nan]),
    }
    write_table(tmp_path / "t.csv", table)
    back = read_csv(tmp_path / "t.csv")
    assert {name: values.tolist() for name, values in back.items() if name != "value"} == {
        name: values.tolist() for name, values in table.items() if name != "value"
    }
    np.testing.assert_array_equal(back["value"], table["value"])
    both = stacked([back, {"vid_id": np.array([5]), "more": np.array([1.5])}])
    assert both["character"].tolist() == ["a,b", 'q"', ""]
    np.testing.assert_array_equal(both["more"], [np.nan, np.nan, 1.5])
    (tmp_path / "odd.csv").write_text("vid_id,b\n1,2,3\n")
    with pytest.raises(OutputError, match="no table of metrics"):
        read_csv(tmp_path / "odd.csv")


def test_parquet_holds_the_same(file, tmp_path, cli, measured):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert cli("metrics", file, "--output", tmp_path, "--format", "parquet").code == 0
    assert cli("metrics", file, "--output", tmp_path / "csv").code == 0
    held = parquet.read_table(tmp_path / "step_metrics.parquet").to_pydict()
    rows = measured.rows(tmp_path / "csv" / "step_metrics.csv")
    assert held["vid_id"] == [int(row["vid_id"]) for row in rows]
    assert [None if v is None else repr(v) for v in held["delta_x_cos"]] == [row["delta_x_cos"] or None for row in rows]
