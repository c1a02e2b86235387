"""What describes a file stands together at its beginning, so that who reads it from afar needs one request for that."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

from emnist_diff_trajectory.fields import has_rows
from emnist_diff_trajectory.merge import merge
from emnist_diff_trajectory.pack import Packing, pack
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.select import select
from emnist_diff_trajectory.writer import TrajectoryWriter

SIZES = {"steps": 5, "shape": (3, 16, 16), "forces": 9}
_TREES = re.compile(rb"TREE|HEAP|SNOD|GCOL")


def _grown(path, make_run):
    writer, _ = TrajectoryWriter.resume(path, make_run(samples=8, **SIZES).header)
    writer.close()
    return path


def _selected(path, positions):
    target = path.with_name(f"some{positions[0]}.h5")
    with Trajectory(path) as trajectory:
        select(trajectory, np.array(positions), target)
    return target


def _merged(path, **how):
    merge([_selected(path, [0, 2]), _selected(path, [1, 3, 4, 5])], path.with_name("joined.h5"), **how)
    return path.with_name("joined.h5")


@pytest.mark.parametrize("kind", ["recorded", "grown", "selected", "joined", "index", "packed"])
def test_descriptions_and_lists_stand_before_all_states(tmp_path, make_run, kind):
    path = make_run(samples=6, **SIZES).record(tmp_path / "t.h5")
    if kind == "grown":
        path = _grown(path, make_run)
    elif kind == "selected":
        path = _selected(path, [1, 4])
    elif kind == "packed":
        path = pack(path, packing=Packing("gzip")).path
    elif kind != "recorded":
        path = _merged(path, copy=kind == "joined")
    ends, states = [], []

    def note(name, item):
        ends.append(h5py.h5o.get_info(item.id).addr)
        if not isinstance(item, h5py.Dataset) or item.is_virtual:
            return
        if item.chunks is not None:
            states.extend(item.id.get_chunk_info(i).byte_offset for i in range(item.id.get_num_chunks()))
        elif has_rows(name):
            assert item.id.get_offset() % 8 == 0
            states.append(item.id.get_offset())
        else:
            ends.append(item.id.get_offset() + item.id.get_storage_size())

    with h5py.File(path) as file:
        file.visititems(note)
    data = path.read_bytes()
    first = min(states, default=len(data))
    chunked = kind == "packed"  # chunks have trees of their own, which grow with them
    ends += [found.start() for found in _TREES.finditer(data[:first] if chunked else data)]
    assert len(ends) > 40
    assert max(ends) <= first <= 1 << 16
