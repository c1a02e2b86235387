"""The recorded fields stand in one place: `frames`, and their datasets in `emnist_diff_trajectory.fields`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).parent))

import measures  # it stands beside this file

from emnist_diff.frames import FIELDS, GROUPS, STATES
from emnist_diff_plugins.metrics.block import Block

HOME = measures.PACKAGES["emnist_diff_trajectory"] / "fields.py", measures.PACKAGES["emnist_diff"] / "frames.py"
DATASET = re.compile(
    rf"trajectory/({'|'.join(STATES)})$|({'|'.join(GROUPS)}|activations)/|(.*/)?(contribution|delta)$", re.DOTALL
)


def test_no_other_file_spells_a_dataset_or_lists_the_fields():
    for package in measures.PACKAGES:
        for path in measures.files(package):
            if path in HOME:
                continue
            for line, text in measures.texts(path):
                assert not DATASET.match(text), f"{path.name}:{line} spells {text!r} — use fields.dataset_of"
            for node in ast.walk(measures.parsed(path)):
                parts = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else []
                listed = {part.value for part in parts if isinstance(part, ast.Constant)}
                assert not listed >= set(STATES), f"{path.name}:{node.lineno} lists the fields — use frames.STATES"


def test_metrics_hold_every_field():
    assert set(FIELDS) <= {field.name for field in attrs.fields(Block)}


NEW_FIELD = """
import sys
import numpy as np
from emnist_diff import frames
frames.STATES += ("residual",)
frames.FIELDS = (*frames.STATES, *frames.GROUPS)
from emnist_diff.timeline import Timeline
from emnist_diff_plugins.metrics.sink import MetricsSink
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.sinks.hdf5 import Hdf5Sink
from emnist_diff_trajectory.compare import compare
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Capture, arrays
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter
from pathlib import Path

alpha_bar = np.array([0.1, 0.5])
header = frames.RunHeader(
    output=Path(sys.argv[1]), config={"seed": 1, "total_videos": 1}, environment={},
    timeline=Timeline(np.array([2.0, 1.0]), alpha_bar, np.array([0.5, 1.0])), shape=(1, 2, 2), image_shape=(1, 2, 2),
    sample_ids=np.array([0]), labels=np.array([0]), seeds=np.array([1], np.uint64), classes=("A",),
    forces=(), drifts=(), force_weights=np.empty((0, 2)),
)
for name, value in (("one.h5", 1.0), ("other.h5", np.nan)):
    writer = TrajectoryWriter.create(header.output / name, header)
    data = {array.name: np.zeros(array.shape, array.dtype) for array in arrays(header, Capture())}
    data["images"][:] = 128
    data["trajectory/residual"][:] = value
    writer.commit([0], data)
    writer.close()
with Trajectory(header.output / "one.h5") as one, Trajectory(header.output / "other.h5") as other:
    assert "residual" in one.fields and "residual" in one.frame_fields
    assert one.field("residual").shape == (1, 2, 1, 2, 2)
    assert (Run(one).norms("residual") == 2).all() and Run(one).holds("residual")
    assert compare(one, other).differences.first.field == "trajectory/residual"
assert verify(header.output / "one.h5") == []
assert [problem.where for problem in verify(header.output / "other.h5")] == ["trajectory/residual"]
assert "residual" in MetricsSink(fields=("x", "residual")).fields
assert "residual" in Hdf5Sink().fields
"""


def test_a_field_that_is_added_to_the_list_is_known_to_reader_verifier_diff_plots_and_sinks(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", NEW_FIELD, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
