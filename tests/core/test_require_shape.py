"""Drifts that do not take states of every shape say so before a run starts."""

from __future__ import annotations

import pytest

from emnist_diff.assembly.assemble import assemble
from emnist_diff.errors import ConfigError
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pluginfiles import with_files

PLUGIN = """
import attrs
from emnist_diff.errors import ConfigError
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec

@hookimpl
def emnist_diff_drifts():
    yield DriftSpec(name="flat_only", factory="flat_only:FlatOnly", summary="for vectors")

@attrs.frozen
class FlatOnly:
    def require_shape(self, shape):
        if len(shape) != 1:
            raise ConfigError(f"flat_only: states of shape {shape} are no vectors")

    def __call__(self, x, step):
        return x
"""


@pytest.fixture(scope="module")  # a module of a name is imported once
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "flat_only.py"
    path.write_text(PLUGIN)
    return path


def words(plugin, shape, output):
    return (
        *("run", "--plugin-file", plugin, "--drift", "flat_only", "--denoiser"),
        *(f"gaussian-mixture:shape={shape},classes=AB", "--steps", "2", "--total-videos", "1", "--output", output),
    )


def test_a_shape_that_does_not_fit_is_one_line_before_any_output(cli, plugin, tmp_path):
    refused = cli(*words(plugin, "[1,8,8]", tmp_path / "out"))
    assert refused.code == 2
    assert "flat_only: states of shape (1, 8, 8) are no vectors" in refused.error
    assert not (tmp_path / "out").exists()


def test_a_shape_that_fits_runs(cli, plugin, tmp_path):
    assert cli(*words(plugin, "[4]", tmp_path / "out"), "--sink", "hdf5").code == 0


def test_an_engine_of_a_program_is_refused_too(plugin):
    registry = with_files([plugin])
    said = {"denoiser": {"name": "gaussian-mixture", "shape": [2, 2], "classes": "AB"}, "drifts": ["flat_only"]}
    with pytest.raises(ConfigError, match="are no vectors"):
        assemble(registry, configure(registry, said)[0])
