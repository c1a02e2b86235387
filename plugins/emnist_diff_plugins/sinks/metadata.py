"""The metadata sink: what was run, and which files belong to which sample, in JSON that needs no library."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import OutputError
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.sinks._beside import trajectories_beside
from emnist_diff_plugins.sinks._folder import sample_name, sample_number
from emnist_diff_plugins.sinks._run_id import run_id
from emnist_diff_trajectory.files import write_bytes
from emnist_diff_trajectory.growth import shrinks
from emnist_diff_trajectory.identity import canonical_json, fingerprint, run_fingerprint
from emnist_diff_trajectory.occupied import occupied
from emnist_diff_trajectory.plaindata import from_json

_SHARE = 20
"""The index is written anew when this many times as long has passed as writing it took."""


@attrs.define(eq=False)
class MetadataSink:
    """Writes ``metadata.json`` (run id, times, configuration, checkpoint, environment, scheduler) and ``index.json``
    (each finished sample, its class and seed, and where its files are).

    Nothing of the machine but what the trajectory file says as well. Times are UTC, in ISO 8601. A resumed run keeps
    the id and the start, also where it adds samples; several workers write one pair of files each, with the same id.

    Example: ``--sink hdf5 --sink video --sink metadata``
    """

    _header: RunHeader | None = attrs.field(init=False, default=None)
    _run: dict[str, str] = attrs.field(init=False, factory=dict)
    _done: set[int] = attrs.field(init=False, factory=set)
    _next: float = attrs.field(init=False, default=0.0)

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset()

    def open(self, header: RunHeader) -> None:
        path = header.output / header.own_name("metadata.json")
        known = _read(path)
        if path.exists() and not (header.resume or header.overwrite):
            raise occupied(path, run=header.output)
        before = _table(known.get("config"))
        same = header.resume and run_fingerprint(before) == run_fingerprint(header.config)
        if header.resume and path.exists() and (reason := shrinks(before, header.config)):
            raise OutputError(f"{path} {reason}")
        if header.resume and path.exists() and not same:
            raise OutputError(f"{path} belongs to another run — repeat that run's settings, or use --overwrite")
        self._header = header
        self._run = {
            "run_id": str(known.get("run_id") if same else run_id(header)),
            "timestamp_start": str(known.get("timestamp_start") if same else _now()),
        }
        if same:
            videos = _read(header.output / header.own_name("index.json")).get("videos")
            listed = [video for video in videos if isinstance(video, dict)] if isinstance(videos, list) else []
            ids = {number for video in listed if isinstance(number := video.get("id"), int)}
            self._done = {p for p, number in enumerate(header.sample_ids.tolist()) if number in ids}
            for trajectory in trajectories_beside(header):  # a kill leaves an index that lags behind the commits
                self._done.update(trajectory.committed)
        self._write_metadata(None)

    def write(self, frame: Frame) -> None:
        """Steps are not the business of this sink."""

    def commit(self, batch: BatchResult) -> None:
        self._done.update(batch.positions)
        if time.monotonic() >= self._next:
            self._write_index()

    def close(self, outcome: Outcome) -> None:
        if self._header is not None:
            if outcome is Outcome.COMPLETED and not self._header.replayed:
                self._done.update(range(len(self._header.sample_ids)))  # those of earlier runs, too
            self._write_index()
            self._write_metadata(outcome)

    def _write_metadata(self, outcome: Outcome | None) -> None:
        assert self._header is not None
        header = self._header
        environment = dict(header.environment)
        checkpoint = _table(environment.pop("checkpoint", None))
        _, height, width = header.image_shape
        data = {
            **self._run,
            "timestamp_end": None if outcome is None else _now(),
            "outcome": "running" if outcome is None else outcome.value,
            "config": _sorted(header.config),
            "config_sha256": fingerprint(header.config),
            "checkpoint": _checkpoint(header, checkpoint),
            "environment": _environment(environment),
            "prediction_type": header.prediction_type,
            "forward_process": header.timeline.process,
            "scheduler": _scheduler(header, _table(checkpoint.get("schedule"))),
            "geometry": {
                "latent_resolution": list(header.shape),
                "pixel_resolution": [height, width],
            },
        }
        write_bytes(header.output / header.own_name("metadata.json"), _json(data), sync=header.fsync)

    def _write_index(self) -> None:
        assert self._header is not None
        header, started = self._header, time.monotonic()
        files = _files(header.output)
        videos = []
        for position in sorted(self._done):
            number, label = int(header.sample_ids[position]), int(header.labels[position])
            videos.append(
                {
                    "id": number,
                    "vid": sample_name(number),
                    "character": header.class_of(position),
                    "label": label,
                    "seed": int(header.seeds[position]),
                    "files": files.get(number, {}),
                }
            )
        data = {
            "run_id": self._run["run_id"],
            "total_videos": len(header.sample_ids),
            "steps": len(header.timeline),
            "videos": videos,
        }
        write_bytes(header.output / header.own_name("index.json"), _json(data), sync=header.fsync)
        ended = time.monotonic()
        self._next = ended + _SHARE * (ended - started)


def _checkpoint(header: RunHeader, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The denoiser's file, its classes and its images."""
    channels, height, width = header.image_shape
    return {
        "path": checkpoint.get("file"),
        "sha256": checkpoint.get("sha256"),
        "epoch": checkpoint.get("epoch"),
        "classes": list(header.classes),
        "size": height if height == width else [height, width],
        "channels": channels,
    }


def _environment(environment: dict[str, Any]) -> dict[str, Any]:
    """The machine and its software: first under the names of document 000, then the rest under its own."""
    slurm = _table(environment.pop("slurm", None))
    return {
        "hostname": environment.pop("hostname", None),
        "gpu": environment.pop("gpu", None),
        "cuda_version": environment.pop("cuda", None),
        "torch_version": environment.pop("torch", None),
        "slurm_job_id": slurm.get("SLURM_ARRAY_JOB_ID", slurm.get("SLURM_JOB_ID")),
        "slurm_array_task_id": slurm.get("SLURM_ARRAY_TASK_ID"),
        **_sorted(environment),
    }


def _scheduler(header: RunHeader, schedule: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduler's settings, the noise schedule of the network's training, and the run's levels."""
    return {
        **_sorted(_table(header.config.get("scheduler"))),
        "num_train_timesteps": schedule.get("train_timesteps"),
        "beta_schedule": schedule.get("beta_schedule"),
        "beta_start": schedule.get("beta_start"),
        "beta_end": schedule.get("beta_end"),
        "timesteps": header.timeline.timestep.tolist(),
        "alpha_bar": header.timeline.alpha_bar.tolist(),
    }


def _files(output: Path) -> dict[int, dict[str, Any]]:
    """The files of each sample, by folder: one path, or a pattern with its number of files, relative to `output`."""
    found: dict[int, dict[str, list[str]]] = {}
    for folder in sorted(path for path in output.iterdir() if path.is_dir()):
        for name in sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
            number = sample_number(folder.name, name)
            if number is not None:
                found.setdefault(number, {}).setdefault(folder.name, []).append(name)
    return {
        number: {folder: _described(folder, sample_name(number), names) for folder, names in folders.items()}
        for number, folders in found.items()
    }


def _described(folder: str, stem: str, names: list[str]) -> Any:
    if len(names) == 1 and not names[0].startswith(f"{stem}_"):
        return f"{folder}/{names[0]}"
    suffix = names[0].rpartition(".")[2]
    return {"pattern": f"{folder}/{stem}_*.{suffix}", "count": len(names)}


def _read(path: Path) -> dict[str, Any]:
    """The table in a JSON file; an empty one where there is none that can be read."""
    try:
        data = from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _table(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _sorted(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same with keys in order at every level, as the trajectory file has them."""
    out: dict[str, Any] = json.loads(canonical_json(data))
    return out


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
