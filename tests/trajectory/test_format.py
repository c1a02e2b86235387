"""The page on the format is normative: a fresh file is what its tables say, no more and no less."""

from __future__ import annotations

import json
import re
from pathlib import Path

import attrs
import h5py
import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff.running.run import run
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.merge import merge, worker_files
from emnist_diff_trajectory.pack import Packing, pack
from emnist_diff_trajectory.schema import FORMAT, FORMAT_VERSION

PAGE = (Path(__file__).parents[2] / "docs" / "trajectory-format.md").read_text(encoding="utf-8")


@attrs.frozen
class Row:
    """A line of a table: what is said of one attribute or dataset."""

    name: str
    kind: str
    shape: str
    required: str


def table(title: str) -> list[Row]:
    """The table under a heading of the page."""
    text = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]
    if title == "Root attributes":
        return [Row(name.strip("`"), kind, "", required) for name, kind, required, _ in rows]
    return [Row(name.strip("`"), kind, shape, required) for name, kind, shape, required, *_ in rows]


ATTRIBUTES, DATASETS = table("Root attributes"), table("Datasets")


def test_the_tables_are_read_whole():
    assert [row.name for row in ATTRIBUTES] == ["format", "format_version", "creator", "creator_version"]
    assert len(DATASETS) > 20
    assert {row.required for row in DATASETS} == {"yes", "no", "with forces", "with activations", "in an index"}
    assert f"Version {FORMAT_VERSION[0]}.{FORMAT_VERSION[1]}." in PAGE
    assert f"`{FORMAT}`" in PAGE


SINKS = {
    "all": {"name": "hdf5"},
    "half": {"name": "hdf5", "dtype": "float16"},
    "some": {"name": "hdf5", "every": 3, "samples": 2},
    "none": {"name": "hdf5", "samples": 0, "fields": ["x", "forces"]},
    "few fields": {"name": "hdf5", "fields": ["x0"]},
}


@pytest.fixture(scope="module", params=["all", "half", "some", "none", "few fields", "packed", "index", "worker"])
def fresh(request, tmp_path_factory):
    """A file, and the sizes that its shapes are told in."""
    folder = tmp_path_factory.mktemp("format")
    sink = SINKS.get(request.param, SINKS["all"])
    workers = 2 if request.param in ("index", "worker") else 1
    for rank in range(workers):
        settings, _ = configure(
            installed(),
            {
                "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 6], "classes": "ABC"},
                "character": "A,B", "total_videos": 5, "steps": 7, "sinks": [sink], "output": str(folder),
                "forces": [{"name": "attract_class", "target": "C"}], "drifts": ["default"],
                "rank": rank, "world_size": workers,
            },
        )  # fmt: skip
        output = run(settings).output
    path = output / "trajectory.h5"
    if request.param == "packed":
        path = pack(path, packing=Packing("gzip")).path
    elif workers > 1:
        path = merge(worker_files(output), path) and path
    sizes = {"N": 5, "M": 5, "K": 7, "T": 7, "C": 3, "S": 2, "H": 4, "W": 6}
    sizes |= {"some": {"K": 3, "M": 2}, "none": {"M": 0}}.get(request.param, {})
    if request.param == "worker":
        path = output / "trajectory-0001-of-0002.h5"
        sizes |= {"N": 2, "M": 2}
    return request.param, path, sizes, sink


def shapes(said: str, sizes: dict[str, int]) -> set[tuple[int, ...]]:
    """The shapes that a cell allows."""
    out = set()
    for way in said.split(" or "):
        axes: list[int] = []
        for axis in way.split(", ") if way != "scalar" else ():
            name, _, more = axis.partition("+")
            if axis == "*shape":
                axes += [1, 4, 6]
            else:
                axes.append(int(name) if name.isdigit() else sizes[name] + int(more or 0))
        out.add(tuple(axes))
    return out


def test_a_fresh_file_is_what_the_tables_say(fresh):
    kind, path, sizes, sink = fresh
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        for row in ATTRIBUTES:
            assert row.name in file.attrs
        assert file.attrs["format"] == FORMAT
        assert file.attrs["format_version"].tolist() == list(FORMAT_VERSION)
        matched = set()
        for row in DATASETS:
            pattern = re.escape(row.name).replace("<nn_name>", r"\d\d_\w+")
            names = [name for name in found if re.fullmatch(pattern, name)]
            matched |= set(names)
            if row.required in ("yes", "with forces") or (row.required == "in an index" and kind == "index"):
                assert names, f"{row.name} is missing"
            if row.required == "in an index" and kind != "index":
                assert not names
            for name in names:
                check(row, name, found[name], kind, sizes, sink)
        assert not set(found) - matched, "datasets that the page does not tell of"
        assert file["schedule"].attrs["forward_process"] == "diffusion"
        assert set(file["config"].attrs) == {"sha256"}
        told = re.findall(r"`(\w+)`", PAGE.partition("`environment` holds")[2].partition("No user or host")[0])
        assert set(json.loads(file["environment"][()])) <= set(told)


def check(row, name, dataset, kind, sizes, sink):
    if row.kind == "text":
        assert h5py.check_string_dtype(dataset.dtype).encoding == "utf-8"
    elif row.kind == "float":
        assert dataset.dtype == sink.get("dtype", "float32"), name
    else:
        assert dataset.dtype == np.dtype(row.kind), name
    assert dataset.shape in shapes(row.shape, sizes), name
    states = row.kind == "float" or name == "images"
    assert dataset.is_virtual is (states and kind == "index")
    assert (dataset.chunks is not None) is (states and kind == "packed")
    if states and kind not in ("packed", "index"):
        assert dataset.id.get_offset() is not None, "contiguous, says the page"
    if row.kind == "float" and sink.get("fields"):
        assert {"x": "trajectory/x", "forces": "contribution", "x0": "trajectory/x0"}.keys() >= set(sink["fields"])


def test_the_ledger_and_the_hash_hold_as_the_page_says(fresh):
    import hashlib

    kind, path, _, _ = fresh
    with h5py.File(path) as file:
        assert hashlib.sha256(file["config"][()]).hexdigest() == file["config"].attrs["sha256"]
        if kind in ("none", "few fields"):
            return
        total = file["trajectory/base"][...]
        for name in sorted(file["forces"]):
            total = total + file[f"forces/{name}/contribution"][...]
        if kind == "half":
            terms = ("trajectory/base", "forces/00_attract_class/contribution", "trajectory/prediction")
            largest = np.max([np.abs(file[name][...]) for name in terms], axis=0).astype(float)
            total = file[terms[0]][...].astype(float) + file[terms[1]][...]
            assert (np.abs(total - file[terms[2]][...]) <= 2.0**-10 * largest + 1e-7).all()
        else:
            assert np.array_equal(total, file["trajectory/prediction"])
