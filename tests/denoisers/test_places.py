"""Bits that do not depend on where a row stands, for networks and latents of any width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.onethread import one_thread
from emnist_diff.running.run import execute, prepare
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.backends._packed_unet import PackedUNet, known
from emnist_diff_plugins.containers import checkpoint, codecs
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.weights import filled
from emnist_diff_plugins.denoisers._unet import Sizes, UNet
from emnist_diff_plugins.denoisers.film import Film
from emnist_diff_plugins.denoisers.unet2d import UNet2D
from emnist_diff_plugins.layers import configure

WIDTHS = (3, 5, 6, 7, 10, 12, 16)


def saved(path: Path, width: int, hidden: int, side: int) -> Path:
    """The checkpoint of an untrained dense network over an untrained codec's vectors of `width` numbers."""
    torch.manual_seed(width)
    settings = {"latent": width, "size": side, "hidden": [hidden]}
    family, config = codecs.family_of(installed(), ComponentConfig("mlp_ae", settings=settings))
    tensors = {**family.network().state_dict(), "mean": torch.randn(width), "std": 1.0 + torch.rand(width)}
    network = Film(size=width, hidden=hidden, blocks=1, time_width=hidden, num_class_embeds=3)
    header = CheckpointHeader(
        family="film",
        network=attrs.asdict(network),
        classes=("A", "D"),
        null_index=2,
        schedule=NoiseSchedule(clip_sample=None),
        prediction="sample",
        codec=codecs.described(family, config, tensors),
    )
    stored = {codecs.PREFIX + name: tensor for name, tensor in tensors.items()}
    checkpoint.save(path, header, {**network.network().state_dict(), **stored})
    return path


@attrs.define(eq=False)
class Kept:
    """A sink that keeps every step's fields and the images, of each sample."""

    samples: dict[int, list[Tensor]] = attrs.field(factory=dict)

    def wants(self, at: Any) -> frozenset[str]:
        return frozenset(("x", "x0", "prediction", "forces"))

    def open(self, header: Any) -> None:
        return None

    def write(self, frame: Any) -> None:
        self._keep(frame.positions, *frame.values())

    def commit(self, batch: Any) -> None:
        self._keep(batch.positions, batch.x, batch.images)

    def close(self, outcome: Any) -> None:
        pass

    def _keep(self, positions: Any, *fields: Tensor) -> None:
        for row, position in enumerate(positions):
            self.samples.setdefault(position, []).extend(field[row].clone() for field in fields)


def walked(file: Path, batch_size: int, **more: Any) -> dict[int, list[Tensor]]:
    """All that was computed of 8 samples, guided and pulled."""
    layer = {
        "checkpoint": str(file), "character": "A,D", "total_videos": 8, "batch_size": batch_size, "steps": 3,
        "base": "cfg", "guidance_scale": 2.5, "sinks": [], "scheduler": {"name": "ddim", "settings": {"eta": 0.5}},
        "forces": [{"name": "attract_class", "target": "D", "strength": 1.7}], **more,
    }  # fmt: skip
    settings, denoiser = configure(installed(), layer)
    kept = Kept()
    execute(attrs.evolve(prepare(installed(), settings, report=False, denoiser=denoiser), sinks=(kept,)))
    return kept.samples


@pytest.mark.parametrize("width", WIDTHS)
def test_latents_of_any_width_are_walked_to_the_same_bits_whatever_the_batch(tmp_path, width):
    file = saved(tmp_path / "model.safetensors", width, hidden=width + 8, side=7)
    whole = walked(file, 8)
    for size in (1, 2, 3, 5):
        other = walked(file, size)
        for sample, fields in whole.items():
            for place, (one, two) in enumerate(zip(fields, other[sample], strict=True)):
                assert torch.equal(one, two), (size, sample, place)


def unet(*widths: int) -> UNet:
    return UNet(
        Sizes(1, widths, 1, (True,) * len(widths), True, 1, widths[0], 3, conditioning="cross", tokens=2, context=5)
    )


NETWORKS = {
    "film": lambda: Film(size=6, hidden=10, blocks=1, time_width=7, num_class_embeds=3).network(),
    "unet": lambda: unet(6, 10),
    "unet_packed": lambda: UNet2D(block_out_channels=(5,), attention=(True,), norm_num_groups=5, attention_head_dim=5,
                                  num_class_embeds=3).network(),
}  # fmt: skip
CODECS = {
    "conv_ae": {"widths": [6, 6], "hidden": 10, "latent": 6, "size": 9},
    "vae": {"widths": [6, 6], "groups": 3, "size": 9},
    "autoencoder_kl": {"block_out_channels": [6, 10], "norm_num_groups": 2, "size": 18},
}


def built(build: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return filled(build, build().state_dict(), "cpu")


def same(rows: Tensor) -> bool:
    return bool((rows == rows[:1]).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_rows_get_equal_predictions_and_gradients(name):
    network, shape = built(NETWORKS[name]), (6,) if name == "film" else (1, 9, 9)
    with one_thread("cpu"):
        for count in (2, 3, 5, 8):
            x = torch.randn(1, *shape).expand(count, *shape).contiguous().requires_grad_(True)
            t, index = torch.full((count,), 37.0), torch.ones(count, dtype=torch.int64)
            out = network(x, t, index)
            assert same(out), count
            assert same(torch.autograd.grad(out.square().sum(), x)[0]), count
            if name == "unet_packed":
                assert known(network)
                with torch.inference_mode():
                    assert same(PackedUNet(network, count, (9, 9), torch.float32)(x, t, index)), count


@pytest.mark.parametrize("name", CODECS)
def test_equal_images_get_equal_latents_and_equal_latents_equal_images(name):
    family, _ = codecs.family_of(installed(), ComponentConfig(name, settings=CODECS[name]))
    network = built(family.network)
    with one_thread("cpu"), torch.inference_mode():
        for count in (2, 3, 20, 64):
            latents = network.encode(torch.rand(1, *family.image_shape).expand(count, -1, -1, -1).contiguous())
            assert same(latents), count
            assert same(network.decode(latents)), count
