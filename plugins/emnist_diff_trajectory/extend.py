"""A trajectory file made anew with more samples than it had, those that it has committed among them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from emnist_diff.errors import OutputError
from emnist_diff.frames import RunHeader
from emnist_diff_trajectory.compose import copy_rows
from emnist_diff_trajectory.creation import new_file
from emnist_diff_trajectory.device import building
from emnist_diff_trajectory.growth import sample_count
from emnist_diff_trajectory.parts import Part, Rows
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Array


def smaller(header: RunHeader, existing: Trajectory) -> RunHeader:
    """What the run of a file said of itself, as the one says that goes on with more samples: with the first of them."""
    count = len(existing)
    return attrs.evolve(
        header,
        config={**header.config, "total_videos": sample_count(existing.config)},
        sample_ids=header.sample_ids[:count],
        labels=header.labels[:count],
        seeds=header.seeds[:count],
    )


def grown_environment(existing: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of a run that goes on, with those under ``earlier`` in which samples were made before, oldest
    first, where they are others."""
    before = dict(existing)
    earlier = before.pop("earlier", [])
    known = [*(earlier if isinstance(earlier, list) else []), before]
    others = [record for record in known if record != current]
    return {**current, "earlier": others} if others else dict(current)


def extend(path: Path, existing: Trajectory, before: os.stat_result, lay_out: Any, layout: Sequence[Array]) -> None:
    """Replace the file at `path`, which `existing` has open, by one of this layout with the samples committed so far.

    before: what `path` was before it was opened.  lay_out: makes groups, attributes and datasets in an open file; all
    but bulk data is there when it returns.

    It is written beside under a temporary name, synced, and then renamed: whatever happens on the way, `path` is the
    file of before or the whole new one, with every committed sample. Raises `OutputError` as `new_file` does, where the
    disk does not hold both for a while, where data would be lost
    that is not of the format, and where another run has replaced the file
    meanwhile.
    """
    if names := existing.extras:
        raise OutputError(
            f"{path} holds {', '.join(names[:4])}, and what of it belongs to which sample only its writer knows — "
            "make the further samples in another --output"
        )
    with new_file(path, layout, overwrite=True) as temporary, building(temporary) as (file, device):
        if not os.path.samestat(before, path.stat()):  # until the lock was taken, another run may have made it larger
            raise OutputError(f"{path} was replaced by another run just now — repeat the command")
        lay_out(file)
        part = Part.of(existing)
        done = existing.steps_done == existing.steps  # under the lock that `new_file` has taken
        for array in layout:
            committed = done if array.name == "images" else done[existing.kept_samples]
            if committed.any():
                rows = np.arange(len(committed))
                copy_rows(Rows(part, array.name, rows, rows, committed), file[array.name], device)
        file["samples/steps_done"][: len(done)] = np.where(done, existing.steps, 0)
