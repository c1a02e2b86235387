"""The example in every component's docstring can be typed as it stands."""

from __future__ import annotations

import shlex

import pytest

from emnist_diff.discovery import installed
from emnist_diff.plugins import load_factory
from emnist_diff.records import DriftSpec, ForceSpec
from emnist_diff_plugins.contract import PresetSpec


@pytest.mark.parametrize(
    "entry", [
        entry
        for kind in (ForceSpec, DriftSpec, PresetSpec)
        for entry in installed().of(kind)
        if entry.distribution == "emnist-diff"  # contributed packages run theirs themselves
    ],
    ids=lambda e: f"{e.spec.kind}-{e.spec.name}",
)  # fmt: skip
def test_a_docstring_example_runs(entry, script, cli, tmp_path):
    options = shlex.split(script("generate_components").example(load_factory(entry)))
    assert entry.spec.name in " ".join(options)
    finished = cli(
        *("run", "--denoiser", "gaussian-mixture:shape=[2],classes=38ABCEFOQRXZ", "--steps", "3"),
        *("--total-videos", "2", "--sink", "hdf5", "--output", tmp_path / "out", *options),
    )
    assert finished.code == 0, finished.err
