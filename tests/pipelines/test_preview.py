"""Cheap pictures of latents: a linear map fitted to the autoencoder, and a tiny autoencoder of a folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff_plugins.denoisers.pipelines.codec import Codec
from emnist_diff_plugins.denoisers.pipelines.memory import Turns
from emnist_diff_plugins.denoisers.pipelines.preview import Linear
from emnist_diff_plugins.layers import configure

Folder = Callable[[str], Path]


class _Mixing:
    """An encoder of known channels: mean colours of 8 x 8 pixels, mixed, with one channel twice."""

    mix = torch.tensor([[0.5, 0.2, -1.0], [1.0, -0.3, 0.1], [0.2, 0.9, 0.4], [0.2, 0.9, 0.4]])

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.avg_pool2d(images, 8)
        return torch.einsum("cr,brhw->bchw", self.mix, small) + torch.tensor([0.3, -2.0, 0.0, 0.0]).view(1, 4, 1, 1)


def test_the_linear_map_is_that_of_the_autoencoder():
    codec: Any = _Mixing()
    images = torch.rand(2, 3, 16, 24).repeat_interleave(8, 2).repeat_interleave(8, 3)
    shown = Linear.fitted(codec, 8, "cpu")(codec.encode(images))
    assert shown.shape == images.shape
    torch.testing.assert_close(shown, images, rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import AutoencoderTiny

    torch.manual_seed(9)
    path = tmp_path_factory.mktemp("tiny") / "taesd"
    blocks = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    layers = {"num_encoder_blocks": (1,) * 4, "num_decoder_blocks": (1,) * 4}
    AutoencoderTiny(latent_channels=4, **blocks, **layers).save_pretrained(path)
    return path


def test_pictures_of_steps_are_previews_and_the_last_is_decoded(
    cli: Any, pipeline: Folder, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    decoded: list[int] = []
    decode = Codec.decode

    def counted(self: Codec, x: torch.Tensor) -> torch.Tensor:
        decoded.append(type(self.module).__name__ == "AutoencoderKL")
        return decode(self, x)

    monkeypatch.setattr(Codec, "decode", counted)
    pictures = {}
    for name, model in (("linear", ""), ("taesd", f",preview={tiny}")):
        decoded.clear()
        out = tmp_path / name
        done = cli(
            "run", "--denoiser", f"sdxl:path={pipeline('sdxl')}{model}", "--prompt", "a cat", "--steps", "3",
            "--sink", "frames:preview=true", "--seed", "5", "--output", out,
        )  # fmt: skip
        assert done.code == 0, done.error
        assert sum(decoded) == 1  # the finished image alone
        pictures[name] = [np.asarray(Image.open(path)) for path in sorted(out.rglob("*.png"))]
        assert [picture.shape for picture in pictures[name]] == [(512, 512, 3)] * 4  # enlarged by 4
    assert np.array_equal(pictures["linear"][-1], pictures["taesd"][-1])
    squares = pictures["linear"][0].reshape(16, 32, 16, 32, 3)
    assert (squares == squares[:, :1, :, :1]).all()
    assert not np.array_equal(pictures["linear"][0], pictures["taesd"][0])


def test_previews_are_of_their_model(cli: Any, pipeline: Folder, tmp_path: Path, tiny: Path):
    other, pickled = tmp_path / "kl", tmp_path / "pickled"
    other.mkdir()
    for path in (tiny / "config.json", tiny / "diffusion_pytorch_model.safetensors"):
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((tiny / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"_class_name": "AutoencoderKL"}))
    pickled.mkdir()
    (pickled / "config.json").write_text(json.dumps(config))
    (pickled / "diffusion_pytorch_model.bin").write_bytes(b"")
    for kind, path, message in (
        ("sd3", tiny, "taesd is for latents of 4 channels, and the model's have 16 — use that of its kind"),
        ("sdxl", other, "kl holds a AutoencoderKL and no AutoencoderTiny — leave it out for a linear map"),
        ("sdxl", pickled, "diffusion_pytorch_model.bin is a pickle, which may run code"),
        ("sdxl", tmp_path / "nowhere", "lacks the folder of its part 'nowhere'"),
    ):
        refused = cli(
            "run", "--denoiser", f"{kind}:path={pipeline(kind)},preview={path}", "--prompt", "a cat", "--dry-run"
        )
        assert refused.code == 4
        assert message in refused.error
    plain = ("run", "--denoiser", "gaussian-mixture:shape=[8,8],classes=AB", "--total-videos", "1", "--steps", "2")
    refused = cli(*plain, "--sink", "frames:preview=true", "--output", tmp_path / "out")
    assert refused.code == 2
    assert "sink 'frames': this model has no previews — leave preview out" in refused.error


def test_the_dashboard_shows_previews(pipeline: Folder):
    from emnist_diff_plugins.dashboard.watch import Watch
    from emnist_diff_plugins.reviews.previews import PreviewedSteps

    class States(list[Any]):
        pictured = list.append

    import attrs

    registry = installed()
    layer = {"checkpoint": str(pipeline("sdxl")), "prompt": "a cat", "sinks": [], "device": "cpu", "steps": 2}
    settings, found = configure(registry, layer)
    run = assemble(registry, settings, denoiser=found)
    states: Any = States()
    watch = Watch(states, lambda header: None, lambda: None)
    PreviewedSteps().require_sinks(attrs.evolve(run, sinks=(watch,)))
    header = attrs.evolve(run.header, decode=lambda x: pytest.fail("the autoencoder is dear"))
    watch._header, watch._pictures = header, True
    x0 = torch.randn(1, *header.shape)
    frame: Any = type("Frame", (), {"positions": (0,), "at": run.header.timeline.at(1)})()
    watch._show(frame, x0)
    assert states[0].pixels.shape == (1, 128, 128, 3)


def test_parts_that_take_turns_wait_for_each_other():
    class Part:
        places: tuple[str, ...] = ()

        def to(self, place: str) -> Part:
            self.places += (place,)
            return self

    network, codec = Part(), Part()
    turns, order = Turns("meta", "model"), list[str]()

    def decoding() -> None:
        with turns.turn(codec):
            order.append("codec")

    with turns.turn(network):
        sinks = threading.Thread(target=decoding)
        sinks.start()
        sinks.join(0.1)
        order.append("network")
    sinks.join()
    assert order == ["network", "codec"]
    assert (network.places, codec.places) == (("meta", "cpu"), ("meta",))
