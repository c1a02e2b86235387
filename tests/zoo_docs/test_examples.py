"""The example in every component's docstring can be typed as it stands."""

from __future__ import annotations

import shlex

import pytest

from emnist_diff.plugins import installed, load_factory
from emnist_diff.records import DriftSpec, ForceSpec, PresetSpec

FUNCTIONS = """
from emnist_diff.conditions import named

def swirl(predictions, step):
    return predictions.direction(named("A")) - predictions.direction(named("B"))

def shake(x, step):
    return x + 0.01 * step.noise()
"""


@pytest.mark.parametrize(
    "entry", [e for kind in (ForceSpec, DriftSpec, PresetSpec) for e in installed().of(kind)],
    ids=lambda e: f"{e.spec.kind}-{e.spec.name}",
)  # fmt: skip
def test_a_docstring_example_runs(entry, script, cli, tmp_path, monkeypatch):
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("forces", "drifts"):
        (package / f"{name}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = shlex.split(script("generate_components").example(load_factory(entry)))
    assert entry.spec.name in " ".join(options)
    finished = cli(
        *("run", "--denoiser", "gaussian-mixture:shape=[2],classes=38ABCEFOQRXZ", "--steps", "3"),
        *("--total-videos", "2", "--sink", "hdf5", "--output", tmp_path / "out", *options),
    )
    assert finished.code == 0, finished.err
