"""A run that is interrupted, and whose disk then refuses what was committed."""

from __future__ import annotations

import errno
import signal

import pytest

from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import OutputError
from emnist_diff.running.run import run
from emnist_diff_trajectory.rows import RowFile


def test_an_interrupted_run_does_not_say_that_lost_samples_are_committed(tmp_path, monkeypatch):
    def refused(_):
        raise OSError(errno.EIO, "Input/output error")

    config = RunConfig(
        denoiser=ComponentConfig("gaussian-mixture", settings={"shape": [1, 4, 4], "classes": "AB"}),
        num_inference_steps=3,
        total_videos=8,
        batch_size=2,
        sinks=(ComponentConfig("hdf5"),),
        output=tmp_path,
        fsync=False,
    )
    monkeypatch.setattr(RowFile, "sync", refused)
    with pytest.raises(OutputError, match="Input/output error — committed samples are safe; check the disk"):
        run(config, on_commit=lambda *_: signal.raise_signal(signal.SIGINT))
