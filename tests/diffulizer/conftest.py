"""A run whose network attends to three tokens and among four places, as softmax of the state says."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emnist_diff.assembly.assemble import assemble
from emnist_diff.running.run import execute
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pluginfiles import with_files

PLUGIN = """
import attrs
import torch
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DenoiserSpec
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture, MixtureDenoiser

@hookimpl
def emnist_diff_denoisers():
    yield DenoiserSpec(name="attentive", factory="attentive:Attentive", summary="a mixture that attends")

@attrs.frozen
class Attentive(GaussianMixture):
    heads: int = 1

    def denoiser(self, device="cpu"):
        made = super().denoiser(device)
        return AttentiveDenoiser(self, made.process, made.device)

class AttentiveDenoiser(MixtureDenoiser):
    capturable = ("attention",)

    def activations(self, requests):
        if "attention" not in requests:
            return {}
        heads = (self.family.heads,)
        cross, among = "attention/mid.attn2.cross", "attention/mid.attn1.self"
        return {
            cross: (*heads, 3, 2, 3), f"{cross}_activation": (*heads, 3), f"{cross}_entropy": heads,
            among: (*heads, 2, 2, 2, 2), f"{among}_entropy": heads,
        }

    def describe(self, requests):
        layer = {"place": "mid", "heads": 2, "tokens": 0, "first": 0}
        return {"attention": [
            {"name": "mid.attn1", "kind": "self", "grid": [2, 2], **layer},
            {"name": "mid.attn2", "kind": "cross", "grid": [2, 3], **layer},
        ]}

    def capture(self, x, t, conds, requests):
        flat = x.flatten(1)
        shapes = self.activations(requests)
        p = torch.softmax(flat[:, :18].unflatten(1, (6, 3)), -1)
        q = torch.softmax(flat[:, :16].unflatten(1, (4, 4)), -1)
        found = {}
        for name, values in (("attention/mid.attn2.cross", p), ("attention/mid.attn1.self", q)):
            found[name] = values.transpose(1, 2) if name.endswith("cross") else values
            found[f"{name}_activation"] = values.mean(1)
            found[f"{name}_entropy"] = -torch.special.xlogy(values, values).sum(-1).mean(-1)
        return {
            name: found[name].reshape(len(x), 1, *shape[1:]).expand(len(x), *shape) for name, shape in shapes.items()
        }
"""

RUN = {
    "denoiser": {"name": "attentive", "shape": [1, 6, 5], "classes": "ABC"},
    "character": "B,C",
    "total_videos": 4,
    "steps": 5,
    "scheduler": "ddim",
    "base": "cfg",
    "guidance_scale": 2.0,
    "sinks": [{"name": "hdf5", "activations": ["attention"]}],
}


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Records such a run in a folder, with some settings changed; gives its trajectory file."""
    folder = tmp_path_factory.mktemp("attentive")
    (folder / "attentive.py").write_text(PLUGIN)
    sys.path.insert(0, str(folder))

    def record(name: str, hdf5: dict[str, Any] | None = None, **settings: Any) -> Path:
        registry = with_files([folder / "attentive.py"])
        sinks = [RUN["sinks"][0] | (hdf5 or {})]
        layer = RUN | {"sinks": sinks, "output": str(folder / name)} | settings
        run, found = configure(registry, layer)
        execute(assemble(registry, run, denoiser=found))
        (path,) = (folder / name).rglob("trajectory.h5")
        return path

    yield record
    sys.path.remove(str(folder))
    sys.modules.pop("attentive", None)


@pytest.fixture(scope="session")
def recorded(recording: Any) -> Path:
    """The trajectory file of such a run; nobody changes it."""
    path: Path = recording("run")
    return path


@pytest.fixture
def copied(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(recorded, tmp_path / "trajectory.h5"))
