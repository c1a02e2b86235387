"""Samples from a training loop of anyone's, which must not notice them."""

from __future__ import annotations

import gc
import json
import random
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel
from PIL import Image
from torch import Tensor, nn

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, OutputError, UnknownName
from emnist_diff.running.run import run
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.validation import NetworkDenoiser, Validation


class Tiny(nn.Module):
    """A network with what a training could be disturbed in: dropout, a batch norm, a cache that is filled by a call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.norm, self.drop = nn.BatchNorm2d(1), nn.Dropout(0.5)
        self.classes = nn.Embedding(3, 1)
        self.cache: Tensor | None = None
        self.frozen = nn.Dropout(0.5).eval()  # not all of it is in the mode of the whole

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        if self.cache is None:
            self.cache = torch.linspace(0, 1, x.shape[-1])
        h = self.conv(x) * self.cache + self.classes(index)[:, :, None, None] + t[:, None, None, None] / 1000
        return self.frozen(self.drop(self.norm(h)))


def trained(steps: int, validation: Validation | None) -> tuple[list[float], dict[str, Tensor], list[Path]]:
    """Losses and weights after some steps, and the files that were written."""
    torch.manual_seed(7)
    network = Tiny()
    denoiser = NetworkDenoiser(network=network, shape=(1, 6, 5), classes="AB", null=True, prediction="epsilon")
    optimizer, losses, files = torch.optim.SGD(network.parameters(), 0.1), [], []
    for step in range(1, steps + 1):
        x = torch.randn(4, 1, 6, 5)
        loss = network(x, torch.full((4,), 5.0), torch.tensor([0, 1, 2, 0])).square().mean()
        loss.backward()
        if validation is not None:  # with gradients that are still to be used
            files += validation(step, denoiser)
        optimizer.step()
        optimizer.zero_grad()
        assert network.training
        assert not network.frozen.training
        losses.append(loss.item())
    return losses, network.state_dict(), files


def test_a_training_does_not_notice(tmp_path: Path):
    validation = Validation(
        every=2, scheduler="ddpm", steps=3, output=tmp_path, tensorboard=False,
        settings={"forces": [{"name": "attract_class", "target": "B", "weight": 0.5}]},
    )  # fmt: skip
    losses, weights, files = trained(5, validation)
    plain, expected, _ = trained(5, None)
    assert losses == plain
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        f"step_{step:06d}/{name}"
        for step in (2, 4)
        for name in ("images/model_000000_A.png", "images/model_000001_B.png", "samples.png")
    ]
    with Image.open(files[1]) as image:
        assert image.size == (40, 48)
        data = json.loads(image.text["emnist-diff"])
        assert image.text["Description"] == data["condition"] == "B"
    assert (data["id"], data["seed"], data["settings"]["step"], data["settings"]["steps"]) == (1, 1000, 2, 3)
    assert data["settings"]["forces"][0]["settings"]["target"] == "B"


def test_samples_are_those_of_a_run(tmp_path: Path):
    """With the same noise for the same ids, and the same each time."""
    settings = {"shape": [1, 6, 5], "classes": "AB"}
    forces = {"forces": [{"name": "attract_class", "target": "B", "weight": 0.5}]}
    layer = {"denoiser": {"name": "gaussian-mixture", **settings}, "character": "A,B", "total_videos": 2, "steps": 4,
             "scheduler": "ddpm", "output": str(tmp_path / "run"), "sinks": ["images"], "micro_batch": 32}  # fmt: skip
    made = run(configure(installed(), {**layer, **forces})[0]).output
    validation = Validation(
        every=1,
        prompts=("A", "B"),
        steps=4,
        scheduler="ddpm",
        output=tmp_path / "v",
        tensorboard=False,
        settings=forces,
    )
    denoiser = GaussianMixture(shape=(1, 6, 5), classes="AB").denoiser()
    first, second = validation(1, denoiser), validation(2, denoiser)
    for one, other, of_run in zip(first, second, sorted((made / "images").glob("*.png")), strict=False):
        with Image.open(one) as a, Image.open(other) as b, Image.open(of_run) as c:
            assert np.array_equal(np.asarray(a), np.asarray(b))
            assert np.array_equal(np.asarray(a), np.asarray(c))


@pytest.mark.parametrize("failing", [False, True])
def test_random_state_modes_and_memory_come_back(failing, tmp_path: Path):
    network = Tiny()
    calls = []

    def evaluate(network, x, t, index):
        torch.rand(3)  # a network that draws
        calls.append(network.training)
        if failing and len(calls) > 2:
            raise RuntimeError("broken")
        return network(x, t, index)

    denoiser = NetworkDenoiser(
        network=network, shape=(1, 6, 5), classes="AB", null=True, prediction="epsilon", evaluate=evaluate
    )
    validation = Validation(every=1, steps=4, scheduler="ddim", output=tmp_path, tensorboard=False)
    network(torch.randn(2, 1, 6, 5), torch.zeros(2), torch.tensor([0, 1]))  # what it keeps, it keeps already

    def tensors() -> int:
        gc.collect()
        return sum(isinstance(item, Tensor) for item in gc.get_objects())

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    before = tensors()
    if failing:
        with pytest.raises(Exception, match="broken"):
            validation(1, denoiser)
    else:
        assert len(validation(1, denoiser)) == 3
    assert not any(calls)
    assert network.training
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    assert all(weight.grad is None for weight in network.parameters())
    del calls[:]
    assert tensors() <= before + 1  # the saved state of this test


def test_a_cache_that_sampling_fills_can_be_trained_on(tmp_path: Path):
    network = Tiny()
    denoiser = NetworkDenoiser(network=network, shape=(1, 6, 5), classes="AB", null=True, prediction="epsilon")
    Validation(every=1, steps=1, scheduler="ddim", output=tmp_path, tensorboard=False)(1, denoiser)
    assert network.cache is not None
    network(torch.randn(2, 1, 6, 5), torch.zeros(2), torch.tensor([0, 1])).sum().backward()


@pytest.mark.parametrize("classes", [None, 3])
def test_a_model_of_diffusers_is_sampled_by_its_own_schedule(classes, tmp_path: Path):
    small = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8,), "norm_num_groups": 4,
             "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "layers_per_block": 1}  # fmt: skip
    torch.manual_seed(0)
    network = UNet2DModel(**small, num_class_embeds=classes)
    schedule = DDPMScheduler(beta_schedule="linear", prediction_type="v_prediction")
    denoiser = NetworkDenoiser(
        network=network,
        shape=(1, 8, 8),
        schedule=schedule,
        **({} if classes is None else {"classes": "AB", "null": True}),
    )
    assert denoiser.prediction_type == "v_prediction"
    validation = Validation(every=1, steps=3, scheduler="ddim", each=2, output=tmp_path, tensorboard=False)
    files = validation(1, denoiser)
    assert len(files) == 1 + 2 * len(denoiser.classes)
    network.eval()
    schedule = DDPMScheduler(beta_schedule="linear", prediction_type="v_prediction")
    assert np.allclose(schedule.alphas_cumprod[999], 4.0358e-5, rtol=1e-3)
    flow = NetworkDenoiser(network=network, shape=(1, 8, 8), schedule=FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert flow.prediction_type == "flow"
    if classes is None:
        assert len(Validation(every=1, steps=2, output=tmp_path / "flow", tensorboard=False)(1, flow)) == 2


class Accelerator:
    """What is used of accelerate's."""

    def __init__(self, main: bool) -> None:
        self.is_main_process, self.waited = main, 0

    def unwrap_model(self, network: nn.Module) -> nn.Module:
        return network.module

    def wait_for_everyone(self) -> None:
        self.waited += 1


@pytest.mark.parametrize("main", [True, False])
def test_of_several_processes_the_first_samples_and_the_others_wait(main, tmp_path: Path):
    wrapped = nn.Module()
    wrapped.module = Tiny()  # no forward of its own: sampled it must be without the wrapper
    accelerator = Accelerator(main)
    denoiser = NetworkDenoiser(network=wrapped, shape=(1, 6, 5), classes="AB", null=True, prediction="epsilon")
    validation = Validation(
        every=3, steps=1, scheduler="ddim", output=tmp_path, tensorboard=False, accelerator=accelerator
    )
    assert [len(validation(step, denoiser)) for step in (1, 2, 3)] == [0, 0, 3 if main else 0]
    assert accelerator.waited == 1


def test_boards_show_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = []
    monkeypatch.setitem(
        sys.modules, "wandb",
        types.SimpleNamespace(
            Image=lambda pixels: pixels.shape,
            run=types.SimpleNamespace(log=lambda data, commit: shown.append((data, commit))),
        ),
    )  # fmt: skip
    writer = types.SimpleNamespace(
        add_image=lambda tag, pixels, step, dataformats: shown.append((tag, step, dataformats)),
        flush=lambda: shown.append("flushed"),
    )
    validation = Validation(every=1, steps=1, scheduler="ddim", output=tmp_path, tensorboard=writer)
    validation(5, GaussianMixture(shape=(1, 6, 5), classes="AB").denoiser())
    validation.close()
    assert shown == [("validation", 5, "HW"), ({"validation": (10, 16), "validation/step": 5}, False), "flushed"]


def test_tensorboard_has_a_folder_of_its_own(tmp_path: Path):
    pytest.importorskip("tensorboard")
    validation = Validation(every=1, steps=1, scheduler="ddim", output=tmp_path, wandb=False)
    validation(1, GaussianMixture(shape=(1, 4, 4), classes="AB").denoiser())
    validation.close()
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"every": 0}, ValueError, "'every' must be >= 1"),
        ({"conditions": "A", "prompts": "B"}, ConfigError, "two names of one thing"),
        ({"conditions": ()}, ConfigError, "no condition to sample"),
        ({"settings": {"steps": 3}}, ConfigError, "settings has 'steps'"),
        ({"settings": {"forcs": []}}, ConfigError, "forcs"),
        ({"steps": 0}, ConfigError, "steps"),
        ({"conditions": "Q"}, UnknownName, "unknown class 'Q'"),
        ({"scheduler": "flow_euler"}, ConfigError, "walks flows, and this model is a diffusion"),
        ({"wandb": True}, ConfigError, "wandb is not installed"),
    ],
)
def test_what_cannot_be_is_one_line(settings, error, message, tmp_path: Path):
    denoiser = GaussianMixture(shape=(1, 4, 4), classes="AB").denoiser()
    with pytest.raises(error, match=message) as caught:
        Validation(**{"every": 1, "steps": 1, "output": tmp_path, "tensorboard": False, **settings})(1, denoiser)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Validation(every=1, steps=1, output=tmp_path / "file", tensorboard=False)(
            1, GaussianMixture(shape=(1, 4, 4), classes="AB").denoiser()
        )


def test_a_network_of_another_kind_is_one_line():
    for schedule, message in ((object(), "object is no noise schedule"),
                              (DDPMScheduler(trained_betas=[0.1, 0.2]), "noise levels of its own")):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            NetworkDenoiser(network=Tiny(), shape=(1,), schedule=schedule)
    with pytest.raises(ConfigError, match="say what the network predicts"):
        NetworkDenoiser(network=Tiny(), shape=(1,))
