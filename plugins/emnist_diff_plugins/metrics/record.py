"""The rows that the samples of a block get in the two tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff.frames import RunHeader, component_fields
from emnist_diff_plugins.metrics import steps as of_steps
from emnist_diff_plugins.metrics import videos as of_videos
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import Array
from emnist_diff_plugins.metrics.tables import Table
from emnist_diff_trajectory.identity import run_fingerprint


def run_name(config: Mapping[str, Any]) -> str:
    """What the column ``run`` calls the run of this configuration: the first 12 digits of its hash, which does not
    depend on how many samples the run has."""
    return run_fingerprint(config)[:12]


@attrs.frozen
class Run:
    """What the rows of a run have in common.

    classes: names in index order.  forces, drifts: names of their groups in the trajectory file.
    name: see `run_name`; rows of several runs can stand together.
    stack: the forces and drifts by name, ``attract_class+clip``, or ``none``.
    conditioned: see `frames.RunHeader`.
    """

    classes: tuple[str, ...]
    forces: tuple[str, ...]
    drifts: tuple[str, ...]
    name: str
    stack: str
    conditioned: bool = True

    @classmethod
    def of(cls, header: RunHeader) -> Run:
        """The run that a header is of."""

        def groups(kind: str, names: Sequence[str]) -> tuple[str, ...]:
            return tuple(field.partition("/")[2] for field in component_fields(kind, names))

        return cls(
            header.classes,
            groups("forces", header.forces),
            groups("drifts", header.drifts),
            run_name(header.config),
            "+".join((*header.forces, *header.drifts)) or "none",
            header.conditioned,
        )

    def class_of(self, label: int) -> str:
        """What stands in the column ``character``: the class, or nothing where no class decided the samples."""
        return self.classes[label] if self.conditioned else ""

    @property
    def step_columns(self) -> tuple[str, ...]:
        """The columns of ``step_metrics``."""
        return ("vid_id", "step_index", *of_steps.names(self.forces, self.drifts), "run")

    @property
    def video_columns(self) -> tuple[str, ...]:
        """The columns of ``video_metrics``."""
        return ("vid_id", "seed", "label", "character", *of_videos.names(self.forces), "stack", "run")


def rows(
    run: Run,
    block: Block,
    wall_dt: Array | None = None,
    seconds: float | None = None,
    gpu_mem_peak_mb: float | None = None,
) -> tuple[Table, Table]:
    """The rows of a block in ``video_metrics`` and ``step_metrics``; see the functions of those names."""
    per_step = of_steps.step_metrics(block, wall_dt)
    per_video = of_videos.video_metrics(block, per_step, seconds, gpu_mem_peak_mb)
    count, kept = block.shape
    step_table: Table = {"vid_id": np.repeat(block.ids, kept), "step_index": np.tile(block.levels.step, count)}
    step_table |= {name: values.ravel() for name, values in per_step.items()}
    step_table["run"] = [run.name] * (count * kept)
    video_table: Table = {
        "vid_id": block.ids,
        "seed": block.seeds,
        "label": block.labels,
        "character": [run.class_of(int(label)) for label in block.labels],
    }
    video_table |= per_video
    video_table |= {"stack": [run.stack] * count, "run": [run.name] * count}
    return video_table, step_table
