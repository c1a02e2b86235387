"""What the files of the sinks hold is what the trajectory says."""

from __future__ import annotations

import io
import json
import re
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from emnist_diff_plugins.pictures import enlargement
from emnist_diff_plugins.sinks._folder import image_name, sample_number
from emnist_diff_plugins.sinks.latents import timestep_labels
from emnist_diff_trajectory.reader import Trajectory

av = pytest.importorskip("av")

STEPS, SAMPLES = 5, 3


@pytest.fixture
def states(trajectory_file: Path) -> np.ndarray:
    """(N, T+1, 1, H, W)."""
    with Trajectory(trajectory_file) as trajectory:
        return np.asarray(trajectory.x[...])


@pytest.fixture
def shown(states: np.ndarray) -> np.ndarray:
    """(N, T+1, H, W), as the format's page says that states are shown."""
    return np.rint(np.clip((states[:, :, 0] + 1) / 2, 0, 1) * 255).astype(np.uint8)


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def large(pixels: np.ndarray, factor: int) -> np.ndarray:
    return np.kron(pixels, np.ones((factor, factor), pixels.dtype))


def test_the_layout(work, recorded: Path):
    timesteps = [999, 799, 599, 399, 199]
    expected = {"trajectory.h5", "samples.png", "strips.png", "metadata.json", "index.json"}
    expected |= {f"images/gaussian-mixture_{name}.png" for name in ("000000_A", "000001_B", "000002_A")}
    for sample in ("v000", "v001", "v002"):
        expected |= {f"videos/{sample}.mp4", f"strips/{sample}.png", f"npz/{sample}.npz"}
        expected |= {f"frames/{sample}_f{i:04d}.png" for i in range(6)}
        expected |= {f"deltas/{sample}_d{i:04d}.npy" for i in range(1, 6)}
        expected |= {f"latents/{sample}_t{t:04d}.npy" for t in timesteps} | {f"latents/{sample}_final.npy"}
    assert set(work.files(recorded)) == expected


def test_frames_are_the_states(recorded: Path, shown: np.ndarray):
    for sample in range(SAMPLES):
        for step in range(STEPS + 1):
            frame = picture(recorded / f"frames/v{sample:03d}_f{step:04d}.png")
            assert np.array_equal(frame, large(shown[sample, step], 8))


def test_images_are_the_final_samples_and_say_how_they_came_to_be(recorded: Path, shown: np.ndarray):
    for sample, character in enumerate("ABA"):
        with Image.open(recorded / f"images/gaussian-mixture_{sample:06d}_{character}.png") as image:
            assert np.array_equal(np.asarray(image), large(shown[sample, -1], 8))
            text = dict(image.text)
        assert (text["Software"], text["Description"]) == ("emnist-diff", character)
        data = json.loads(text["emnist-diff"])
        settings = data.pop("settings")
        assert data == {"id": sample, "seed": 1000, "condition": character}
        assert (settings["steps"], settings["scheduler"]["name"], settings["forces"][0]["weight"]) == (
            STEPS,
            "ddpm",
            0.5,
        )


def test_images_depend_neither_on_batches_nor_on_how_many_samples_there_are(work, recorded: Path, tmp_path: Path):
    with Image.open(recorded / "images/gaussian-mixture_000000_A.png") as image:
        rows = {"micro_batch": json.loads(image.text["emnist-diff"])["settings"]["micro_batch"]}
    work.run(tmp_path, ["images"], batch_size=1, total_videos=2, **rows)
    whole = work.files(work.run(tmp_path, ["images"], batch_size=3, resume=True, **rows) / "images")
    assert whole == work.files(recorded / "images")


def test_names_of_images_are_safe_and_lead_back_to_the_sample():
    prompts = [
        "a cat, in space: 4k / ../../etc",
        "Ünïcode ☃",
        "日本の猫",
        "日本の犬",
        "CON",
        "",
        "-" * 99,
        "x" * 500,
        "a\nb",
    ]
    names = [image_name("model/../of v2", number, prompt) for number, prompt in enumerate(prompts)]
    assert names[:2] == ["model-of-v2_000000_a-cat-in-space-4k-et.png", "model-of-v2_000001_Unicode.png"]
    assert len({name.partition("_")[2][7:] for name in names[2:4]}) == 2
    for number, name in enumerate(names):
        assert re.fullmatch(r"[0-9A-Za-z-]+_\d{6}_[0-9A-Za-z-]{1,41}\.png", name)
        assert sample_number("images", name) == sample_number("images", f".{name}.7.tmp") == number
    assert image_name("日本", 1_234_567, None) == "model_1234567.png"
    assert sample_number("images", "v000_000012_x.png") == 12
    for foreign in ("holiday.png", "a_12.png", "a_000012_b_c.png", "notes_000001.txt"):
        assert sample_number("images", foreign) is None


@pytest.mark.parametrize(
    ("shape", "frames", "grid"),
    [((28, 28), 8, 3), ((64, 40), 8, 3), ((128, 96), 4, 3), ((256, 1), 2, 2), ((768, 9), 1, 1)],
)
def test_small_images_are_enlarged_and_large_ones_are_not(shape, frames, grid):
    assert (enlargement(8, shape), enlargement(3, (3, *shape))) == (frames, grid)
    assert enlargement(8, shape, 5) == 5


def test_pictures_of_large_images_keep_their_size(work, tmp_path: Path):
    wide = {"name": "gaussian-mixture", "shape": [1, 4, 300], "classes": "AB"}
    output = work.run(
        tmp_path, ["images", "frames", "strip", "grid"], denoiser=wide, total_videos=1, steps=2, drifts=[]
    )
    for name in ("images/gaussian-mixture_000000_A.png", "frames/v000_f0000.png"):
        assert picture(output / name).shape == (4, 300)
    assert picture(output / "samples.png").shape == (8, 304)
    assert picture(output / "strips/v000.png").shape == picture(output / "strips.png").shape == (14, 908)


def test_deltas_lead_from_frame_to_frame(recorded: Path, shown: np.ndarray):
    for sample in range(SAMPLES):
        at = shown[sample, 0].astype(int)
        for step in range(1, STEPS + 1):
            delta = np.load(recorded / f"deltas/v{sample:03d}_d{step:04d}.npy")
            assert delta.dtype == np.int16
            at = at + delta
            assert np.array_equal(at, shown[sample, step])


def test_latents_are_the_states_bit_for_bit(
    work, recorded: Path, states: np.ndarray, trajectory_file: Path, tmp_path: Path
):
    with Trajectory(trajectory_file) as trajectory:
        names = [f"t{round(t):04d}" for t in trajectory.timestep] + ["final"]
    work.export(trajectory_file, tmp_path, {"name": "latents", "format": "pt"})
    for sample in range(SAMPLES):
        for step, name in enumerate(names):
            latent = np.load(recorded / f"latents/v{sample:03d}_{name}.npy", allow_pickle=False)
            assert latent.dtype == np.float32
            assert np.array_equal(latent, states[sample, step])
            tensor = torch.load(tmp_path / f"latents/v{sample:03d}_{name}.pt", weights_only=True)
            assert np.array_equal(tensor.numpy(), states[sample, step])


def test_timesteps_get_the_decimals_that_tell_them_apart():
    assert timestep_labels([999.0, 500.0, 0.0]) == ["t0999", "t0500", "t0000"]
    assert timestep_labels([999.5, 0.25, 0.125]) == ["t0999.5", "t0000.2", "t0000.1"]
    assert timestep_labels([1.0, 1.0]) == ["t0001.000000_s0000", "t0001.000000_s0001"]


def test_npz_holds_the_arrays_of_the_trajectory(work, trajectory_file: Path, states: np.ndarray, tmp_path: Path):
    work.export(trajectory_file, tmp_path, {"name": "npz", "fields": ["x", "x0", "base"], "every": 2})
    with Trajectory(trajectory_file) as trajectory:
        for sample in range(SAMPLES):
            with np.load(tmp_path / f"npz/v{sample:03d}.npz", allow_pickle=False) as data:
                assert np.array_equal(data["x"], states[sample, [0, 2, 4, 5]])
                assert np.array_equal(data["x0"], trajectory.x0[sample, ::2])
                assert np.array_equal(data["base"], trajectory.base[sample, ::2])
                assert data["step"].tolist() == [0, 2, 4]
                assert np.array_equal(data["timestep"], trajectory.timestep[::2])
                assert np.array_equal(data["image"], trajectory.images[sample])
                assert (int(data["id"]), int(data["seed"])) == (sample, 1000)
                assert str(data["character"]) == trajectory.classes[int(data["label"])]


def test_a_strip_goes_from_noise_to_image(recorded: Path, shown: np.ndarray, trajectory_file: Path):
    with Trajectory(trajectory_file) as trajectory:
        estimates = np.rint(np.clip((np.asarray(trajectory.x0)[:, :, 0] + 1) / 2, 0, 1) * 255)
    for sample in range(SAMPLES):
        strip = picture(recorded / f"strips/v{sample:03d}.png")[::3, ::3]
        for row, cells in enumerate((shown[sample], [*estimates[sample], shown[sample, -1]])):
            for column, cell in enumerate(cells):
                top, left = 2 + row * (6 + 2), 2 + column * (5 + 2)
                assert np.array_equal(strip[top : top + 6, left : left + 5], cell)


def test_decoded_video_frames_are_the_states(recorded: Path, shown: np.ndarray):
    for sample in range(SAMPLES):
        with av.open(str(recorded / f"videos/v{sample:03d}.mp4")) as film:
            stream = film.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 30)
            decoded = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
        assert len(decoded) == STEPS + 1 + 30  # the last one is held for a second
        for step, frame in enumerate(decoded):
            wanted = large(shown[sample, min(step, STEPS)], 8)
            assert frame.shape == (*wanted.shape, 3)
            assert np.abs(frame - wanted[..., None].astype(int)).mean() < 4


@pytest.mark.parametrize("shape", [[1, 5, 7], [3, 7, 5]])
def test_odd_sizes_are_made_even_for_h264(work, shape: list[int], tmp_path: Path):
    output = work.run(
        tmp_path,
        ["hdf5", {"name": "video", "upscale": 1, "quality": 0, "pixel_format": "yuv444p"}],
        denoiser={"name": "gaussian-mixture", "shape": shape, "classes": "AB"},
        total_videos=1,
    )
    with Trajectory(output / "trajectory.h5") as trajectory:
        last = np.atleast_3d(trajectory.images[0]).astype(int)
    with av.open(str(output / "videos/v000.mp4")) as film:
        *_, frame = (frame.to_ndarray(format="rgb24") for frame in film.decode(video=0))
    assert frame.shape == (shape[1] + 1, shape[2] + 1, 3)
    assert np.abs(frame[:-1, :-1] - last).max() <= 8  # limited range and chroma take their toll
    assert np.abs(frame[-1, :-1] - last[-1]).max() <= 8
    assert np.abs(frame[:-1, -1] - last[:, -1]).max() <= 8


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_animations_hold_every_frame_for_its_time(
    work, kind: str, trajectory_file: Path, shown: np.ndarray, tmp_path: Path
):
    work.export(trajectory_file, tmp_path, {"name": "video", "format": kind, "fps": 30, "hold": 0.5, "upscale": 2})
    with Image.open(tmp_path / f"videos/v001.{kind}") as film:
        frames = [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(film)]
        assert film.info["loop"] == 0
    assert len(frames) == STEPS + 1
    for (frame, _), wanted in zip(frames, shown[1], strict=True):
        assert np.array_equal(frame[..., 0], large(wanted, 2))
    *moving, last = [duration for _, duration in frames]
    assert sum(moving) == pytest.approx(1000 * STEPS / 30, abs=10)
    assert last == pytest.approx(1000 / 30 + 500, abs=10)


def test_jpg_frames_are_close(work, trajectory_file: Path, shown: np.ndarray, tmp_path: Path):
    work.export(trajectory_file, tmp_path, {"name": "frames", "format": "jpg", "every": 5})
    assert {Path(name).name for name in work.files(tmp_path)} == {
        f"v{sample:03d}_f{step:04d}.jpg" for sample in range(SAMPLES) for step in (0, 5)
    }
    frame = picture(tmp_path / "frames/v002_f0005.jpg").astype(int)
    assert np.abs(frame - large(shown[2, 5], 8)).mean() < 3


def test_every_and_samples_choose(work, trajectory_file: Path, shown: np.ndarray, tmp_path: Path):
    work.export(trajectory_file, tmp_path, {"name": "deltas", "every": 3, "samples": [2], "upscale": 2})
    assert set(work.files(tmp_path)) == {"deltas/v002_d0003.npy", "deltas/v002_d0005.npy"}
    change = shown[2, 5].astype(int) - shown[2, 3]
    assert np.array_equal(np.load(tmp_path / "deltas/v002_d0005.npy"), large(change, 2))
    work.export(trajectory_file, tmp_path, {"name": "npz", "samples": 2})
    assert {"npz/v000.npz", "npz/v001.npz"} == {name for name in work.files(tmp_path) if name.startswith("npz")}


def test_metadata_has_the_documented_keys(recorded: Path, trajectory_file: Path):
    data = json.loads((recorded / "metadata.json").read_text())
    uuid.UUID(data["run_id"])
    for key in ("timestamp_start", "timestamp_end"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", data[key])
    assert data["timestamp_start"] <= data["timestamp_end"]
    assert data["outcome"] == "completed"
    with Trajectory(trajectory_file) as trajectory:
        assert data["config"] == trajectory.config
        assert data["scheduler"]["timesteps"] == trajectory.timestep.tolist()
        assert data["environment"]["torch_version"] == trajectory.environment["torch"]
    assert data["checkpoint"] == {
        "path": None, "sha256": None, "epoch": None, "classes": ["A", "B"], "size": [6, 5], "channels": 1,
    }  # fmt: skip
    assert {"hostname", "gpu", "cuda_version", "torch_version", "slurm_job_id", "slurm_array_task_id"} <= set(
        data["environment"]
    )
    assert {"name", "num_train_timesteps", "beta_start", "beta_end"} <= set(data["scheduler"])


def test_the_index_finds_every_file(work, recorded: Path):
    index = json.loads((recorded / "index.json").read_text())
    assert index["run_id"] == json.loads((recorded / "metadata.json").read_text())["run_id"]
    assert [(v["id"], v["vid"], v["character"], v["label"], v["seed"]) for v in index["videos"]] == [
        (0, "v000", "A", 0, 1000),
        (1, "v001", "B", 1, 1000),
        (2, "v002", "A", 0, 1000),
    ]
    found = set()
    for video in index["videos"]:
        for entry in video["files"].values():
            here = [recorded / entry] if isinstance(entry, str) else sorted(recorded.glob(entry["pattern"]))
            assert isinstance(entry, str) or len(here) == entry["count"]
            found |= {str(path.relative_to(recorded)) for path in here}
    assert found == {name for name in work.files(recorded) if "/" in name}


def test_a_checkpoint_is_named_without_its_directory(work, latent_checkpoint: Path, tmp_path: Path):
    output = work.run(
        tmp_path, ["hdf5", "metadata"], denoiser=None, checkpoint=str(latent_checkpoint), forces=[], drifts=[]
    )
    data = json.loads((output / "metadata.json").read_text())
    assert data["checkpoint"]["path"] == latent_checkpoint.name
    assert data["checkpoint"]["epoch"] == 4
    assert (data["scheduler"]["num_train_timesteps"], data["scheduler"]["beta_end"]) == (1000, 0.02)
    assert str(latent_checkpoint.parent) not in (output / "metadata.json").read_text()


def test_a_picture_is_png_and_nothing_else(work, recorded: Path):
    for name, data in work.files(recorded).items():
        if name.endswith(".png"):
            with Image.open(io.BytesIO(data)) as image:
                assert image.format == "PNG"
                assert image.mode == "L"


def test_live_equals_export(work, recorded: Path, trajectory_file: Path, tmp_path: Path):
    assert work.export(trajectory_file, tmp_path, *work.all) == SAMPLES
    live, after = work.files(recorded), work.files(tmp_path)
    del live["trajectory.h5"]
    odd = {name for name in live.keys() | after.keys() if live.get(name) != after.get(name)}
    assert odd == {"metadata.json", "index.json"}
    for name in odd:
        one, other = json.loads(live[name]), json.loads(after[name])
        for key in ("run_id", "timestamp_start", "timestamp_end"):
            one.pop(key, None), other.pop(key, None)
        assert one == other
