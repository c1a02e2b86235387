"""Codecs: their sizes, their statistics, and bits that do not depend on how many images go together."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff_plugins.codecs.vae import divergence
from emnist_diff_plugins.containers import codecs
from emnist_diff_plugins.denoisers._unet import CrossAttention
from emnist_diff_plugins.denoisers.film import Film

SHAPES = {"conv_ae": (16,), "mlp_ae": (16,), "vae": (2, 4, 4), "autoencoder_kl": (4, 14, 14)}


def codec(name: str, **settings) -> tuple[codecs.CodecHeader, dict[str, torch.Tensor]]:
    """Header and stored tensors of an untrained codec."""
    family, config = codecs.family_of(installed(), ComponentConfig(name, settings=settings))
    torch.manual_seed(0)
    tensors = {
        **family.network().state_dict(),
        "mean": torch.full(family.shape, 0.25),
        "std": torch.full(family.shape, 2.0),
    }
    return codecs.described(family, config, tensors), {"codec/" + name: t for name, t in tensors.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_a_codec_goes_there_and_back_with_the_same_bits_whatever_the_batch(name):
    settings = {"size": 28} if name == "autoencoder_kl" else {}
    header, stored = codec(name, **settings)
    assert (header.shape, header.image_shape) == (SHAPES[name], (1, 28, 28))
    loaded = codecs.loaded(installed(), header, stored, "cpu")
    images = torch.rand(45, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    states = loaded.encode(images)
    shown = loaded.decode(states)
    assert shown.shape == images.shape
    assert 0.0 <= float(shown.min()) <= float(shown.max()) <= 1.0
    threads = torch.get_num_threads()
    for count in (1, 7, 33):
        assert torch.equal(loaded.encode(images[:count]), states[:count])
        assert torch.equal(loaded.decode(states[:count]), shown[:count])
    assert torch.get_num_threads() == threads
    raw = loaded.network.encode(images[:20])
    torch.testing.assert_close(states[:20], (raw - 0.25) / 2.0, atol=1e-5, rtol=1e-5)


def test_document_004s_networks_have_its_sizes():
    family, _ = codecs.family_of(installed(), ComponentConfig("conv_ae"))
    network = family.network()
    halves = [sum(p.numel() for p in half.parameters()) for half in (network.encoder, network.decoder)]
    assert halves == [357_008, 506_497]
    film = Film()
    assert sum(p.numel() for p in film.network().parameters()) - 11 * 256 == 1_690_896


@pytest.mark.parametrize("kind", ["element", "channel", "scale"])
def test_standardised_latents_have_the_statistics_that_were_fitted(kind):
    latents = torch.randn(500, 3, 4, 4, generator=torch.Generator().manual_seed(2)) * 3 + torch.arange(3.0).view(
        3, 1, 1
    )
    latents[:, 0, 0, 0] = 7.0  # says nothing
    mean, std = codecs.fit(latents, kind)
    assert mean.shape == std.shape == (3, 4, 4)
    states = (latents - mean) / std
    axes = {"element": (0,), "channel": (0, 2, 3), "scale": (0, 1, 2, 3)}[kind]
    deviation = states.std(axes, unbiased=False)
    if kind == "element":
        assert float(states[:, 0, 0, 0].abs().max()) == 0.0
        deviation[0, 0, 0] = 1.0
    torch.testing.assert_close(deviation, torch.ones_like(deviation), atol=1e-4, rtol=0)
    if kind == "scale":
        assert not mean.any()
    else:
        assert float(states.mean(axes).abs().max()) < 1e-4


def test_the_divergence_is_that_of_normals():
    mean, log_variance = torch.randn(2, 5, 2, 3, 3, generator=torch.Generator().manual_seed(3))
    exact = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).flatten(1).sum(1).mean()
    torch.testing.assert_close(divergence(mean, log_variance), exact)
    assert float(divergence(torch.zeros(1, 4), torch.zeros(1, 4))) == 0.0


def test_a_file_that_does_not_hold_the_codec_of_its_header_is_refused():
    header, stored = codec("mlp_ae")
    for change, match in (
        ({"codec/mean": None}, "lacks latent statistics 'codec/mean'"),
        ({"codec/std": torch.ones(3)}, "mis-shaped latent statistics 'codec/std'"),
        ({"codec/mean": torch.zeros(16)}, "another codec than its header names"),
    ):
        tensors = {name: t for name, t in {**stored, **change}.items() if t is not None}
        with pytest.raises(CheckpointError, match=match):
            codecs.loaded(installed(), header, tensors, "cpu")
    with pytest.raises(CheckpointError, match=r"codec.shape is \(16,\), its network's \(8,\)"):
        codecs.loaded(installed(), attrs.evolve(header, network={"latent": 8}), stored, "cpu")
    with pytest.raises(ConfigError, match="square images"):
        codecs.family_of(installed(), ComponentConfig("vae"))[0].fitted((1, 28, 32))


@pytest.fixture
def public(tmp_path):
    """Saves a tiny autoencoder of diffusers, and gives it with its folder."""
    from diffusers import AutoencoderKL

    def save(**settings):
        levels = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        torch.manual_seed(1)
        model = AutoencoderKL(
            block_out_channels=(8, 16), norm_num_groups=4, latent_channels=2, sample_size=64,
            **{"in_channels": 1, "out_channels": 1, **levels, **settings},
        )  # fmt: skip
        model.save_pretrained(tmp_path / "pipeline" / "vae")
        return model.eval(), tmp_path / "pipeline" / "vae"

    return save


@pytest.mark.parametrize(
    "scaling",
    [
        {"scaling_factor": 0.25, "shift_factor": 0.5},
        {"scaling_factor": 2.0, "latents_mean": [0.1, -0.2], "latents_std": [3.0, 4.0]},
    ],
)
def test_an_autoencoder_of_diffusers_is_a_codec_with_its_own_scaling(public, scaling):
    model, folder = public(**scaling)
    codec, file = codecs.read(installed(), folder.parent, "cpu", (1, 16, 16))
    assert file == folder
    assert (codec.header.image_shape, codec.header.shape) == ((1, 16, 16), (2, 8, 8))
    assert codecs.read(installed(), folder, "cpu")[0].header.image_shape == (1, 64, 64)
    images = torch.rand(3, 1, 16, 16)
    with torch.inference_mode():
        latents = model.encode(2 * images - 1).latent_dist.mode()
        shown = model.decode(latents).sample / 2 + 0.5
    mean = torch.tensor(scaling.get("latents_mean", [scaling.get("shift_factor")] * 2)).view(-1, 1, 1)
    std = torch.tensor(scaling.get("latents_std", [1.0, 1.0])).view(-1, 1, 1)
    states = codec.encode(images)
    torch.testing.assert_close(states, (latents - mean) / std * scaling["scaling_factor"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(codec.decode(states), shown.clamp(0, 1), atol=1e-4, rtol=1e-4)


def test_gray_images_are_repeated_for_an_autoencoder_of_colors_and_averaged_after_it(public):
    model, folder = public(in_channels=3, out_channels=3)
    assert codecs.read(installed(), folder, "cpu")[0].header.image_shape == (3, 64, 64)
    codec, _ = codecs.read(installed(), folder, "cpu", (1, 16, 16))
    assert (codec.header.image_shape, codec.header.network["repeats"]) == ((1, 16, 16), 3)
    images = torch.rand(2, 1, 16, 16)
    with torch.inference_mode():
        latents = model.encode(2 * images.expand(-1, 3, -1, -1) - 1).latent_dist.mode()
        colors = (model.decode(latents).sample / 2 + 0.5).clamp(0, 1)
    states = codec.encode(images)
    torch.testing.assert_close(states, latents * model.config.scaling_factor, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(codec.decode(states), colors.mean(1, keepdim=True), atol=1e-4, rtol=1e-4)
    assert colors.std(1).max() > 1e-3
    again = codecs.loaded(installed(), codec.header, codec.stored(), "cpu")
    assert torch.equal(again.decode(states), codec.decode(states))
    gray = codecs.read(installed(), public()[1], "cpu", (3, 16, 16))[0]
    assert gray.header.image_shape == (1, 16, 16)  # which no images of colors fit, and training says so


def test_an_autoencoder_of_diffusers_that_cannot_be_a_codec_is_one_line(public):
    _, folder = public(out_channels=3)
    with pytest.raises(CheckpointError, match="out_channels is 3, and codec 'autoencoder_kl' has 1 alone"):
        codecs.read(installed(), folder, "cpu")
    with pytest.raises(ConfigError, match="images of 15 pixels do not divide by 2"):
        codecs.read(installed(), public()[1], "cpu", (1, 15, 15))
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="holds no AutoencoderKL that diffusers can read"):
        codecs.read(installed(), folder, "cpu")


def test_cross_attention_is_that_of_diffusers():
    from diffusers.models.attention_processor import Attention

    ours = CrossAttention(16, 8, 4, 12)
    theirs = Attention(
        16,
        cross_attention_dim=12,
        heads=2,
        dim_head=8,
        bias=True,
        norm_num_groups=4,
        eps=1e-5,
        residual_connection=True,
    )
    theirs.load_state_dict(dict(ours.state_dict().items()), strict=False)
    x, tokens = torch.randn(3, 16, 4, 4), torch.randn(3, 5, 12)
    torch.testing.assert_close(ours(x, tokens), theirs(x, encoder_hidden_states=tokens), atol=1e-5, rtol=1e-5)
    one = ours(x, tokens[:, :1]) - x  # a single token adds the same everywhere
    torch.testing.assert_close(one, one.mean((2, 3), keepdim=True).expand_as(one), atol=1e-5, rtol=1e-5)
