"""Codecs, and denoisers of their latents, from training to a recorded run and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from emnist_diff import Trajectory
from emnist_diff.assembly.sources import opened
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, DatasetError
from emnist_diff.structuring import unstructure
from emnist_diff_plugins import checkpoint_search
from emnist_diff_plugins.containers import checkpoint, codecs
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.training.trainer import train

CODEC = {"widths": [8, 8], "hidden": 16, "latent": 6}
FILM = {"hidden": 16, "blocks": 1, "time_width": 8}
RUN = ("--character", "A,D", "--total-videos", "3", "--steps", "3")


@pytest.fixture
def trained(config, tmp_path):
    """Trains what is named on a codec, and gives its newest checkpoint."""

    def make(name: str, output: str, codec: str | None = None, network=None, **more):
        out = config(
            output=output,
            family={"name": name, "settings": network or {}},
            codec=codec,
            epochs=1,
            sample_every=1,
            **more,
        )
        return train(out).checkpoint

    return make


@pytest.fixture
def latent(trained) -> Path:
    """A flow over the latents of an autoencoder."""
    codec = trained("conv_ae", "codec", network=CODEC, objective=None)
    return trained("film", "latent", str(codec.parent), FILM, objective={"name": "flow", "time_scale": 100.0})


def saved_codec(path: Path) -> Path:
    """The checkpoint of an untrained codec of images (1, 28, 28)."""
    family, config = codecs.family_of(installed(), ComponentConfig("mlp_ae"))
    tensors = {**family.network().state_dict(), "mean": torch.zeros(16), "std": torch.ones(16)}
    described = codecs.described(family, config, tensors)
    header = CheckpointHeader(role="codec", family="mlp_ae", classes=("A", "D"), codec=described)
    checkpoint.save(path, header, {codecs.PREFIX + name: tensor for name, tensor in tensors.items()})
    return path


def test_a_codecs_checkpoint_says_what_it_is_and_what_it_leaves_of_an_image(trained):
    path = trained("conv_ae", "codec", network=CODEC, objective=None)
    header = checkpoint.read_header(path)
    assert (header.role, header.family, header.codec.shape, header.codec.image_shape) == (
        "codec", "conv_ae", (6,), (1, 8, 8),
    )  # fmt: skip
    codec, _ = codecs.read(installed(), path, "cpu")
    assert set(header.provenance["reconstruction"][0]) == {"epoch", "mse", "latent_mean", "latent_std"}
    assert (path.parent / "reconstruction_conv_ae.csv").read_text().startswith("epoch,mse")
    assert {p.name for p in (path.parent / "samples").iterdir()} == {"epoch001.png", "epoch001_latents.png"}
    states = codec.encode(torch.zeros(2, 1, 8, 8))
    assert torch.equal(states[0], states[1])
    with pytest.raises(CheckpointError, match="holds a codec and no denoiser"):
        opened(installed(), str(path))


@pytest.mark.parametrize(
    ("name", "network", "aim"),
    [
        (
            "vae",
            {"widths": [8], "groups": 4},
            {"name": "diffusion", "prediction": "epsilon", "beta_schedule": "linear"},
        ),
        ("vae", {"widths": [8], "groups": 4}, {"name": "flow"}),
    ],
)
@pytest.mark.parametrize("conditioning", ["embedding", "concat", "cross"])
def test_a_unet_learns_latents_as_it_learns_pixels(trained, name, network, aim, conditioning):
    codec = trained(name, "codec", network=network, objective=None)
    unet = {"block_out_channels": [8], "attention": [True], "norm_num_groups": 4, "attention_head_dim": 8}
    more = {"conditioning": conditioning} | ({"tokens": 2} if conditioning == "cross" else {})
    path = trained("unet2d", "latent", str(codec), unet | more, objective=aim)
    header = checkpoint.read_header(path)
    assert header.schedule.clip_sample is None
    assert header.objective["name"] == aim["name"]
    assert header.codec == checkpoint.read_header(codec).codec
    denoiser = opened(installed(), str(path)).load("cpu")
    assert denoiser.image_shape == (1, 8, 8)
    images = torch.rand(2, 1, 8, 8)
    assert denoiser.decode(denoiser.encode(images)).shape == images.shape


def test_a_run_of_latents_is_steered_recorded_and_replayed(latent, cli, tmp_path):
    force = ("--force", "attract_class:target=D,strength=2")
    for name, more in (("one", ()), ("other", ("--batch-size", "1"))):
        done = cli("run", "--checkpoint", latent, *RUN, *force, *more, "--output", tmp_path / name)
        assert done.code == 0, done.err
    one, other = (Trajectory(next((tmp_path / name).rglob("trajectory.h5"))) for name in ("one", "other"))
    assert one.field("x").shape == (3, 4, 6)
    assert one.environment["checkpoint"]["codec"]["shape"] == [6]
    for name in ("x", "x0"):
        assert (one.field(name)[:] == other.field(name)[:]).all()
    assert (one.images[:] == other.images[:]).all()
    assert one.images.shape[1:] == (8, 8)
    assert {p.name for p in Path(one.path).parent.iterdir()} >= {"samples.png", "strips.png"}
    replayed = cli("replay", one.path, "--checkpoint", latent)
    assert replayed.code == 0, replayed.err


def test_latents_are_drawn_compared_and_refused_with_the_reason(latent, trained, cli, tmp_path):
    force = ("--force", "attract_class:target=D,strength=2", "--output", tmp_path / "run")
    assert cli("run", "--checkpoint", latent, *RUN, *force).code == 0
    file = next((tmp_path / "run").rglob("trajectory.h5"))
    drawn = json.loads(cli("plot", file, "--json").out)
    of_attention = {"token_maps", "token_dominance", "self_attention", "attention_entropy", "evolution_strip"}
    assert set(drawn["left_out"]) == {"generation_times", "run_distance"} | of_attention
    assert {"denoising_strips", "pixel_l2_per_step"} <= drawn["drawn"].keys()
    page = cli("report", file)
    assert page.code == 0, page.err
    done = json.loads(cli("whatif", file, "--without", "attract_class", "--json").out)
    assert done["final_pixel_l2"]["mean"] > 0
    refused = cli("attribution", file)
    assert refused.code == 5
    assert "states of shape (6,) have no places, for no number of a vector stands for one" in refused.error
    latent.unlink()
    said = json.loads(cli("plot", file, "--list", "--json").out)["left_out"]["denoising_strips"]
    assert said.startswith("states that are pictures, or their model (")
    assert checkpoint_search.VARIABLE in said


def test_forces_on_latents_with_places_are_mapped(trained, cli, tmp_path):
    codec = trained("vae", "codec", network={"widths": [8], "groups": 4}, objective=None)
    unet = {"block_out_channels": [8], "attention": [True], "norm_num_groups": 4, "attention_head_dim": 8}
    path = trained("unet2d", "latent", str(codec), unet, objective={"name": "flow"})
    force = ("--force", "attract_class:target=D", "--output", tmp_path / "run")
    assert cli("run", "--checkpoint", path, *RUN, *force).code == 0
    file = next((tmp_path / "run").rglob("trajectory.h5"))
    done = cli("attribution", file)
    assert done.code == 0, done.err
    assert np.load(file.with_name("attribution.npz"))["maps"].shape[2:] == Trajectory(file).field("x").shape[3:]


@pytest.mark.parametrize("aim", [{"name": "diffusion"}, {"name": "flow", "time_sampling": "logit_normal"}])
def test_a_resumed_training_needs_no_codec_file_and_ends_in_the_same_bits(config, trained, tmp_path, cli, aim):
    codec = trained("conv_ae", "codec", network=CODEC, objective=None)
    settings = {"family": {"name": "film", "settings": FILM}, "epochs": 2, "objective": aim}
    whole = train(config(output="whole", codec=str(codec), **settings)).checkpoint
    train(config(output="parts", codec=str(codec), max_minutes=1e-9, **settings))
    other = trained("conv_ae", "other", network=CODEC, objective=None, seed=5)
    with pytest.raises(ConfigError, match="is not the one that the training began with"):
        train(config(output="parts", codec=str(other), **settings), resume=True)
    shutil.rmtree(codec.parent)
    result = train(config(output="parts", codec=str(codec), **settings), resume=True)
    assert result.finished
    (_, one), (_, two) = checkpoint.load(whole), checkpoint.load(result.checkpoint)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_resumed_training_of_a_codec_ends_in_the_same_bits_and_statistics(config):
    settings = {"family": {"name": "vae", "settings": {"widths": [8], "groups": 4}}, "epochs": 2, "objective": None}
    whole = train(config(output="whole", **settings)).checkpoint
    train(config(output="parts", max_minutes=1e-9, **settings))
    result = train(config(output="parts", **settings), resume=True)
    assert result.finished
    (one, first), (two, second) = checkpoint.load(whole), checkpoint.load(result.checkpoint)
    assert one.codec == two.codec
    assert {"codec/mean", "codec/std"} <= first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("codec", "network", "name", "aim"),
    [
        ("conv_ae", {**CODEC, "latent": 16}, "film", {"name": "diffusion", "prediction": "epsilon"}),
        ("conv_ae", {**CODEC, "latent": 16}, "film", {"name": "flow", "time_scale": 100.0}),
        ("vae", {"widths": [8], "groups": 4}, "unet2d", {"name": "flow"}),
        (None, {}, "unet2d", {"name": "flow"}),
    ],
)
def test_scale_0_is_uncond_and_1_is_cond_whatever_the_batch(trained, cli, tmp_path, codec, network, name, aim):
    """To the bit, images included: neither scale mixes two predictions."""
    beneath = None if codec is None else str(trained(codec, "codec", network=network, objective=None))
    unet = {"block_out_channels": [8], "attention": [True], "norm_num_groups": 4, "attention_head_dim": 8}
    path = trained(name, "model", beneath, FILM if name == "film" else unet, objective=aim)
    ways = {
        "scale0": ("--guidance-scale", "0"), "uncond": ("--base", "uncond"),
        "scale1": ("--guidance-scale", "1", "--batch-size", "1"), "cond": ("--base", "cond"),
    }  # fmt: skip
    files = {}
    for way, options in ways.items():
        done = cli("run", "--checkpoint", path, *RUN, *options, "--output", tmp_path / way)
        assert done.code == 0, done.err
        files[way] = Trajectory(next((tmp_path / way).rglob("trajectory.h5")))
    for one, other in (("scale0", "uncond"), ("scale1", "cond")):
        for field in ("x", "prediction"):
            assert np.array_equal(files[one].field(field)[:], files[other].field(field)[:])
        assert np.array_equal(files[one].images[:], files[other].images[:])
    assert not np.array_equal(files["scale0"].field("x")[:], files["scale1"].field("x")[:])


def test_what_does_not_fit_is_said_in_one_line(latent, trained, config, cli, tmp_path):
    other = trained("conv_ae", "other", network=CODEC, objective=None, seed=5)
    stranger = trained("film", "stranger", str(other), FILM, objective={"name": "flow", "time_scale": 100.0})
    without_z = {**unstructure(config().dataset)["settings"], "name": "emnist", "only": "Z"}
    large = saved_codec(tmp_path / "large.safetensors")
    run = ("run", "--checkpoint", latent, *RUN, "--output", tmp_path / "run")
    for arguments, words in (
        ((*run, "--scheduler", "ddim"), "walks diffusions, and this model is a flow"),
        ((*run, "--guide", f"weak={stranger}"), "has states in another space"),
        (("run", "--checkpoint", other, *RUN), "holds a codec and no denoiser"),
    ):
        done = cli(*arguments)
        assert done.code
        assert words in done.err
    for more, words in (
        ({"family": {"name": "unet2d", "settings": {}}, "codec": str(latent)}, r"images must be square.*such as vae"),
        ({"family": {"name": "film", "settings": {}}, "codec": str(large)},
         r"the codec takes images of shape \(1, 28, 28\), and the data's are \(1, 8, 8\) — train a codec"),
        ({"family": {"name": "film", "settings": {}}, "codec": str(latent), "dataset": without_z},
         "there is no class 'Z'"),
        ({"family": {"name": "film", "settings": {}}}, "states must be vectors"),
        ({"family": {"name": "conv_ae", "settings": {}}, "codec": str(latent)}, "is itself a codec"),
        ({"family": {"name": "film", "settings": FILM}, "codec": str(stranger), "init_from": str(latent)},
         "init_from: the checkpoint's states are latents"),
    ):  # fmt: skip
        with pytest.raises((ConfigError, DatasetError), match=words):
            train(config(output="refused", objective=None, **more))
    header, tensors = checkpoint.load(other)
    checkpoint.save(tmp_path / "bare.safetensors", header, {n: t for n, t in tensors.items() if n != "codec/std"})
    with pytest.raises(CheckpointError, match="lacks latent statistics"):
        train(
            config(
                output="refused",
                family={"name": "film", "settings": {}},
                codec=str(tmp_path / "bare.safetensors"),
                objective=None,
            )
        )


def test_a_codec_in_float16_is_the_same_codec_in_its_models_which_store_it_so(trained):
    codec = trained("conv_ae", "codec", network=CODEC, objective=None, half=True)
    path = trained("film", "latent", str(codec), FILM, objective={"name": "flow"}, half=True)
    known, _ = codecs.read(installed(), codec, "cpu")
    within, _ = codecs.read(installed(), path, "cpu")
    assert within.header.sha256 == known.header.sha256
    stored = {name: info.dtype for name, info in checkpoint.tensors_of(path).items()}
    assert {kind for name, kind in stored.items() if name not in ("codec/mean", "codec/std")} == {"F16"}
    exact = trained("conv_ae", "exact", network=CODEC, objective=None)
    other = trained("film", "other", str(exact), FILM, objective={"name": "flow"}, half=True)
    assert (
        codecs.read(installed(), other, "cpu")[0].header.sha256
        == codecs.read(installed(), exact, "cpu")[0].header.sha256
    )
    floor = checkpoint.read_header(other).provenance["codec_floor"]
    assert floor == {"mse": checkpoint.read_header(exact).provenance["reconstruction"][0]["mse"], "images": 20}
