"""Tables of metrics, and the files that hold them: CSV, JSON and Parquet. What has no value is empty, or null."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emnist_diff.errors import OutputError, PluginError
from emnist_diff_trajectory.files import write_bytes

Table = dict[str, Any]
"""Columns by name, numpy arrays or lists of one length; NaN where there is no value."""

WHOLE = ("vid_id", "step_index", "seed", "label", "total_steps", "captured_frames", "step_end", "count")
"""Columns of whole numbers, wherever all their values are there."""
TEXT = ("character", "run", "stack", "group", "metric", "basin_class")


def length(table: Table) -> int:
    """The number of rows."""
    return len(next(iter(table.values()))) if table else 0


def stacked(tables: Sequence[Table]) -> Table:
    """Tables one below the other; a column that one lacks is empty there. Columns in order of their first mention."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    out: Table = {}
    for name in names:
        parts = [
            np.asarray(table[name], dtype=object if name in TEXT else None)
            if name in table
            else np.full(length(table), "" if name in TEXT else np.nan, dtype=object if name in TEXT else None)
            for table in tables
        ]
        out[name] = np.concatenate(parts) if parts else np.empty(0)
    return out


def sorted_by(table: Table, *names: str) -> Table:
    """The rows in order of these columns, the first of them first."""
    order = np.lexsort([np.asarray(table[name]) for name in reversed(names)])
    return {name: np.asarray(values)[order] for name, values in table.items()}


def plain(name: str, values: Any) -> list[Any]:
    """A column as Python values: text, whole numbers, finite numbers, or None."""
    if name in TEXT:
        return [str(value) for value in values]
    data = np.asarray(values)
    if data.dtype.kind in "iu":
        return list(data.tolist())
    whole = name in WHOLE
    return [None if not np.isfinite(v) else int(v) if whole else v for v in data.tolist()]


def csv_rows(table: Table) -> str:
    """The rows as CSV, without a header. Numbers are written so that reading them gives the same float64."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(_rows(table))
    return out.getvalue()


def csv_header(names: Sequence[str]) -> str:
    """The line with the columns' names."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(names)
    return out.getvalue()


def write_table(path: Path, table: Table) -> None:
    """Write a table whole or not at all, in the format that the name ends with: csv, json or parquet.

    Raises `OutputError` when it cannot be written, `PluginError` when pyarrow is needed and not there.
    """
    write_bytes(path, _ENCODERS[path.suffix](table))


def read_csv(path: Path) -> Table:
    """The table in a CSV file that was written here; a torn last line is left out.

    Raises `OutputError` for a file that is something else.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = text[: text.rfind("\n") + 1]
        names, *rows = list(csv.reader(io.StringIO(lines), strict=True)) or [[]]
        if not names or names[0] != "vid_id" or any(len(row) != len(names) for row in rows):
            raise ValueError("its rows do not fit its first line")
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        return {name: _column(name, values) for name, values in zip(names, columns, strict=True)}
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise OutputError(f"{path} is no table of metrics: {error} — use --overwrite to replace it") from error


def finite(value: float) -> float | None:
    """A number of JSON; None for what is no number."""
    return value if np.isfinite(value) else None


def listed(values: Any) -> list[Any]:
    """An array as lists, with None where it has no value."""
    return [finite(value) for value in values.tolist()] if values.ndim == 1 else [listed(row) for row in values]


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """A JSON file of plain data, whose numbers are finite."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def check_format(name: str) -> None:
    """Raise `PluginError` when a library for this format is missing."""
    if name == "parquet":
        _pyarrow()


def _rows(table: Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(plain(name, values) for name, values in table.items()), strict=True)


def _column(name: str, values: Sequence[str]) -> Any:
    if name in TEXT:
        return np.array(values, dtype=object)
    if name in WHOLE and all(values):
        return np.array([int(value) for value in values], dtype=np.uint64 if name == "seed" else np.int64)
    return np.array([float(value) if value else np.nan for value in values], dtype=np.float64)


def _csv(table: Table) -> bytes:
    return (csv_header(list(table)) + csv_rows(table)).encode()


def _json(table: Table) -> bytes:
    return json_bytes({"rows": [dict(zip(table, row, strict=True)) for row in _rows(table)]})


def _parquet(table: Table) -> bytes:
    arrow, parquet = _pyarrow()
    columns = {}
    for name, values in table.items():
        kind = arrow.string() if name in TEXT else None
        if kind is None:
            kind = arrow.uint64() if name == "seed" else arrow.int64() if name in WHOLE else arrow.float64()
        columns[name] = arrow.array(plain(name, values), type=kind)
    out = io.BytesIO()
    parquet.write_table(arrow.table(columns), out)
    return out.getvalue()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise PluginError(
            'Parquet needs pyarrow, which is not installed — pip install pyarrow, or "emnist-diff[parquet]"'
        ) from error
    return pyarrow, pyarrow.parquet


_ENCODERS = {".csv": _csv, ".json": _json, ".parquet": _parquet}
