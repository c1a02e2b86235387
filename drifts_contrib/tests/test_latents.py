"""Models over latents encode the pictures and resize the masks that drifts are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from emnist_diff import Trajectory
from emnist_diff.errors import ConfigError

from emnist_diff_drifts_contrib.data_consistency import DataConsistency
from emnist_diff_drifts_contrib.freeze_mask import FreezeMask
from emnist_diff_drifts_contrib.inpaint import Inpaint
from emnist_diff_drifts_contrib.low_pass import LowPass
from emnist_diff_drifts_contrib.sdedit import SdEdit

PLUGIN = '''
import attrs
import torch
from emnist_diff.families import Source
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture

@hookimpl
def emnist_diff_denoisers():
    yield DenoiserSpec(name="quarters", factory="quarters:Quarters", summary="latents are means of 2 x 2 pixels")

@attrs.frozen
class Quarters:
    blind: bool = False

    def source(self, registry):
        return Source.of(lambda device: (Blind if self.blind else Latent)())

class Blind:
    """States (2, 4, 4) of images (1, 8, 8): three times a mean, and nothing."""

    image_shape = (1, 8, 8)

    def __init__(self):
        self.own = GaussianMixture(shape=(2, 4, 4), classes="AB").denoiser()

    def __getattr__(self, name):
        return getattr(self.own, name)

    def decode(self, x):
        return (x[:, :1] / 3).clamp(0, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)

class Latent(Blind):
    def encode(self, images):
        small = images.reshape(-1, 1, 4, 2, 4, 2).mean((3, 5))
        return torch.cat((3 * small, 0 * small), 1)
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "quarters.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def drawn(cli, plugin, tmp_path):
    """A run of three samples with a drift; its file, or the error."""

    def make(drift: str, family: str = "quarters"):
        done = cli(
            *("run", "--plugin-file", plugin, "--denoiser", family, "--drift", drift, "--scheduler", "ddim"),
            *("--total-videos", 3, "--steps", 4, "--sink", "hdf5", "--output", tmp_path / "out", "--overwrite"),
        )
        return Trajectory(next((tmp_path / "out").rglob("trajectory.h5"))) if done.code == 0 else done.error

    return make


def picture(level: int) -> np.ndarray:
    out = np.full((8, 8), level, np.uint8)
    out[:, 4:] = 255 - level
    return out


def test_pictures_become_latents_and_masks_are_resized(drawn, save):
    image, mask = save("image.png", picture(0)), np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    wanted = torch.zeros(2, 4, 4)
    wanted[0, :, 2:] = 3.0
    with drawn(f"inpaint:image={image},mask={save('mask.png', mask)}") as file:
        final = file.field("x", 0)[-1]
        np.testing.assert_allclose(final[:, :2], wanted[:, :2], atol=1e-6)
        assert abs(final[:, 2:] - wanted[:, 2:].numpy()).max() > 0.1
    with drawn(f"sdedit:image={image},strength=0") as file:
        np.testing.assert_allclose(file.field("x", 2)[-1], wanted, atol=1e-6)
        assert np.array_equal(file.images[2], picture(0))
    with drawn(f"data_consistency:operator=mask,mask=left,image={image}") as file:
        np.testing.assert_allclose(file.field("x", 1)[-1][:, :, :2], wanted[:, :, :2], atol=1e-5)
    mask[:5] = 255  # a row of latents is half seen
    values = FreezeMask(save("half.png", mask)).encoded(_latent(drawn))._where.values
    np.testing.assert_allclose(values[:, 0], [1, 1, 0.5, 0])


def test_a_folder_is_a_bank_of_which_samples_take_one_each_in_turn(drawn, save, tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    for name, level in (("a.png", 0), ("b.png", 255)):
        save(f"bank/{name}", picture(level))
    with drawn(f"sdedit:image={folder},strength=0") as file:
        assert [file.images[k][0, 0] for k in range(3)] == [0, 255, 0]
    before = SdEdit(str(folder)).image_sha256
    save("bank/c.png", picture(9))
    assert SdEdit(str(folder)).image_sha256 != before
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no images"):
        SdEdit(str(tmp_path / "empty"))


def test_what_cannot_be_encoded_is_one_line(drawn, save):
    image, mask = save("image.png", picture(0)), save("mask.png", picture(0))
    assert "this model cannot encode pictures into its states of shape (2, 4, 4)" in drawn(
        f"sdedit:image={image}", "quarters:blind=true"
    )
    small = save("small.png", picture(0)[:6])
    assert "is 8 × 6 pixels, and an image of this model is 8 × 8" in drawn(f"low_pass:reference={small},factor=2")
    assert "mask" in (said := drawn(f"freeze_mask:mask={small}"))
    assert "images of this model have (8, 8)" in said
    vector = _Vector()
    for drift in (Inpaint(image, "left"), FreezeMask(mask), DataConsistency("mask", image, mask=mask)):
        with pytest.raises(ConfigError, match=r"no number in latents of shape \(16,\) stands for a place"):
            drift.encoded(vector)
    own = save("own.npy", np.linspace(0, 1, 16))
    assert FreezeMask(own).encoded(vector)._where.shaped((16,))[-1] == 1
    assert LowPass(image).encoded(vector)._known.shaped((16,))[0][0] == 0.5


class _Vector:
    """Latents (16,) without places."""

    shape, image_shape = (16,), (1, 8, 8)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))[:, None].expand(-1, 16)

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1, None, None].expand(-1, 1, 8, 8)


def _latent(drawn):
    """The denoiser of the plugin, which a run has loaded."""
    import sys

    return sys.modules["quarters"].Latent()
