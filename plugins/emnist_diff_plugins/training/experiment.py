"""The files that only an experiment has: its settings, its log, its losses as a picture, and a summary."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import structlog
import tomlkit

from emnist_diff.errors import PluginError
from emnist_diff_plugins.training import figures
from emnist_diff_plugins.training.config import TrainConfig, to_dict
from emnist_diff_plugins.training.layout import Layout
from emnist_diff_plugins.training.record import Record
from emnist_diff_plugins.training.state import path_in
from emnist_diff_trajectory.files import write_bytes

FOLDER = "experiments"


def directory(name: str, *, resume: bool) -> str:
    """``experiments/YYYYmmdd_HHMMSS-NAME``: a new one, or when `resume` is true the newest of this name that holds a
    training, if there is one."""
    stamp = "[0-9]" * 8 + "_" + "[0-9]" * 6
    found = sorted(Path(FOLDER).glob(f"{stamp}-{name}")) if resume else []
    held = [folder for folder in found if path_in(folder).exists()]
    return str(held[-1] if held else Path(FOLDER) / f"{time.strftime('%Y%m%d_%H%M%S')}-{name}")


def write_settings(layout: Layout, config: TrainConfig) -> None:
    """``config.toml``, which ``--config`` reads. Raises `OutputError`."""
    plain = json.loads(json.dumps(to_dict(config)))
    if config.clip_norm is None:
        plain["clip_norm"] = 0.0  # TOML has no null, and this is what the setting takes for it
    write_bytes(layout.output / "config.toml", tomlkit.dumps(_without_null(plain)).encode())


def _without_null(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _without_null(value) for key, value in data.items() if value is not None}
    return data


def write_figures(layout: Layout, record: Record, steps: int, total: int) -> None:
    """``performance.json`` and, with matplotlib, ``loss_curves.png``. Raises `OutputError`."""
    summary = json.dumps(_performance(record, steps, total), indent=1, allow_nan=False)
    write_bytes(layout.output / "performance.json", f"{summary}\n".encode())
    try:
        write_bytes(layout.output / "loss_curves.png", figures.loss_curves(record.rows, record.validations))
    except PluginError as error:
        figures.undrawn(str(error))


def _performance(record: Record, steps: int, total: int) -> dict[str, Any]:
    """How much was learnt, in how much time."""
    config, task, rows = record.config, record.task, record.rows
    last = rows[-1]
    best = min(record.validations, key=lambda row: row["held_out_loss"])
    newest = record.newest
    return {
        "role": task.header.role,
        "family": config.family.name,
        "parameters": sum(parameter.numel() for parameter in task.network.parameters()),
        "epochs": last["epoch"],
        "steps": steps,
        "finished": steps >= total,
        "images": last["cumulative_samples"],
        "seconds": last["cumulative_time_sec"],
        "images_per_second": last["cumulative_samples"] / last["cumulative_time_sec"],
        "gpu_peak_mb": max(row["gpu_mem_peak_mb"] for row in rows),
        "loss": last["loss_mean"],
        "held_out_loss": last["held_out_loss"],
        "best_held_out_loss": dict(best),
        task.table: [dict(row) for row in record.errors if row["epoch"] == last["epoch"]],
        "codec_floor": task.header.provenance.get("codec_floor"),
        "checkpoint": None if newest is None else newest.name,
    }


@attrs.define(eq=False)
class Log:
    """Events of the log as lines of text, kept until it is known which file they go to. What earlier sittings wrote
    there stays."""

    _lines: list[str] = attrs.field(factory=list)
    _path: Path | None = None

    def open(self, path: Path) -> None:
        """Write to `path`, what was kept first."""
        self._path = path
        self._write()

    def event(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor that lets every event pass."""
        values = " ".join(f"{key}={value!r}" for key, value in event.items() if key not in ("event", "exc_info"))
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lines.append(f"{stamp} {method} {event.get('event')} {values}".rstrip())
        self._write()
        return event

    def _write(self) -> None:
        if self._path is None:
            return
        text, self._lines = "".join(f"{line}\n" for line in self._lines), []
        try:
            with open(self._path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:  # a full disk ends the log, not the training
            self._path = None


def _quiet(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that lets warnings and errors pass."""
    if method in ("debug", "info"):
        raise structlog.DropEvent
    return event


@contextmanager
def listening(experiment: bool) -> Iterator[Log]:
    """A log that hears the events of this process, where they go to structlog, as those of the command line do; also
    those that the command line leaves out when it is quiet."""
    kept = Log()
    if not experiment or not structlog.is_configured():
        yield kept
        return
    before = structlog.get_config()
    processors, level = before["processors"], before["wrapper_class"]
    if level is structlog.make_filtering_bound_logger(logging.WARNING):
        level = structlog.make_filtering_bound_logger(logging.INFO)
        structlog.configure(processors=[kept.event, _quiet, *processors], wrapper_class=level)
    else:
        structlog.configure(processors=[kept.event, *processors])
    try:
        yield kept
    finally:
        structlog.configure(processors=processors, wrapper_class=before["wrapper_class"])
