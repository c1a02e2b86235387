"""Writing datasets: what they take is known before anything is written, and metadata.json comes last but for what
checks the rest, so that a folder without it is an unfinished one."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import ConfigError, Interrupted, OutputError, TrajectoryError
from emnist_diff.running.interrupts import stop_requests
from emnist_diff_plugins.capacity import size
from emnist_diff_plugins.diffulizer import LATENTS, METADATA, METRICS, PLANE, VALIDATION
from emnist_diff_plugins.diffulizer.checking import check, validation
from emnist_diff_plugins.diffulizer.described import image_name, map_name, metadata
from emnist_diff_plugins.diffulizer.documents import read_json
from emnist_diff_plugins.diffulizer.numbers import Measured, json_bytes
from emnist_diff_plugins.diffulizer.progress import Progress
from emnist_diff_plugins.diffulizer.recorded import Pair, Recorded
from emnist_diff_plugins.pictures import png
from emnist_diff_trajectory.files import make_folder, write_bytes

Pixels = npt.NDArray[np.uint8]

PNG_HEAD, PNG_ROW, PNG_BLOCK = 1 << 10, 1, 1 << 10
"""Bytes that a picture takes beside its pixels at most: once, a row, and one in so many where nothing is packed."""

_HALF = float(np.finfo(np.float16).max)


@attrs.frozen(eq=False)
class Planned:
    """A dataset that can be written.

    documents: metadata.json and the files of numbers, by name.  size: bytes of all files, of pictures what they take at
    most.
    """

    recorded: Recorded
    folder: Path
    latents: bool
    documents: dict[str, bytes]
    size: int

    @classmethod
    def of(cls, recorded: Recorded, folder: Path, latents: bool) -> Planned:
        """latents: whether states and noise are written too. Raises as `Measured.of`."""
        described, measured = metadata(recorded, latents), Measured.of(recorded)
        documents = {
            METADATA: json_bytes(described),
            METRICS: json_bytes(measured.metrics),
            PLANE: json_bytes(measured.plane),
        }
        total = sum(map(len, documents.values())) + len(json_bytes(validation([], len(described["attention_files"]))))
        total += sum(2 * int(np.prod(each["shape"])) for each in described["attention_files"])
        total += len(described["images"]) * _most_of_picture(recorded.pair.states.images.shape[1:])
        total += len(_arrays(recorded, measured)) if latents else 0
        return cls(recorded, folder, latents, documents, total)


def _most_of_picture(shape: Sequence[int]) -> int:
    rows = shape[0] * (int(np.prod(shape[1:])) + PNG_ROW)
    return PNG_HEAD + rows + rows // PNG_BLOCK


def _arrays(recorded: Recorded, measured: Measured) -> bytes:
    """States and noise in half precision. Raises `TrajectoryError` for what that cannot hold."""
    found = {"latents": measured.latents, "predicted_noise": measured.noise}
    for name, values in found.items():
        if (most := float(np.abs(values).max())) > _HALF:
            raise TrajectoryError(
                f"{name} of sample {recorded.sample} reach {most:.3g}, and half precision ends at {_HALF:.0f} — leave "
                "them out with --no-arrays"
            )
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **{name: values.astype("<f2") for name, values in found.items()})
    return out.getvalue()


@attrs.frozen(kw_only=True)
class Export:
    """What is made of which samples.

    latents: whether states and noise are written.  most: bytes that all datasets may take together; None for any.
    overwrite: replace datasets that are there.  resume: keep those that are whole.
    """

    latents: bool = True
    most: int | None = None
    overwrite: bool = False
    resume: bool = False


def chosen(pair: Pair, samples: Sequence[int] | None) -> list[int]:
    """The ids to export: those that are named, or that of the first finished sample whose states are kept. Raises
    `TrajectoryError` where there is none."""
    if samples is not None:
        return list(dict.fromkeys(samples))
    file = pair.states
    first = next((position for position in file.committed if file.keeps(position)), None)
    if first is None:
        raise TrajectoryError(f"{file.path} holds no finished sample with states — finish the run with --resume")
    return [int(file.ids[first])]


def export(
    pair: Pair,
    folder: Path,
    samples: Sequence[int] | None,
    what: Export,
    show: Callable[[Recorded], Iterator[Pixels]],
    progress: Progress,
) -> list[Planned]:
    """Write a dataset of each sample: of a single one into `folder`, of several into ``sample_0003/`` in it.

    show: the pictures where the steps of a sample end.

    Raises as `Planned.of`; `ConfigError` where they would take too much, before anything is written; `OutputError` for
    what is there or cannot be written; `Interrupted` after SIGINT or SIGTERM.
    """
    ids = chosen(pair, samples)
    progress.report("loading", f"{len(ids)} samples of {pair.states.path}", 0, len(ids))
    places = [folder if len(ids) == 1 else folder / f"sample_{number:04d}" for number in ids]
    planned = [Planned.of(pair.sample(n), at, what.latents) for n, at in zip(ids, places, strict=True)]
    needed = sum(each.size for each in planned)
    if what.most is not None and needed > what.most:
        raise ConfigError(
            f"this takes up to {size(needed)}, which is more than {size(what.most)} — choose fewer samples, leave "
            "states out with --no-arrays, or capture less with emnist-diff attend --every 2 --resolution 16"
        )
    left = [each for each in planned if not _is_whole(each, what)]
    steps, done = sum(len(each.recorded.steps) for each in left), 0
    with stop_requests() as stopping:
        for each in left:
            _cleared(each.folder)
            for picture in _written(each, show):
                if stopping.is_set():
                    raise Interrupted(
                        f"interrupted: sample {each.recorded.sample} is not finished — repeat the command with --resume"
                    )
                done += 1
                progress.report("exporting", f"sample {each.recorded.sample}: {picture}", done, steps)
    progress.report("completed", f"{len(planned)} datasets, {len(left)} of them written now", steps, steps)
    return planned


def _is_whole(planned: Planned, what: Export) -> bool:
    """Whether this dataset is there. Raises `OutputError` for anything that may not be replaced."""
    folder = planned.folder
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return False
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    if not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is no directory")
    unfinished = not (folder / METADATA).exists()
    if what.resume and not unfinished:
        if (folder / METADATA).read_bytes() == planned.documents[METADATA] and not check(folder).errors:
            return True
        raise OutputError(f"{folder} holds another dataset, or a damaged one — use --overwrite to replace it")
    if what.overwrite or (what.resume and unfinished):
        _require_dataset(folder)
        return False
    raise OutputError(f"{folder} is not empty — use --overwrite to replace a dataset, or another folder")


_FOLDERS = ("images", "attention")


def _require_dataset(folder: Path) -> None:
    """Raise `OutputError` for a folder with anything that is no part of a dataset: none of it may be removed."""
    own = {METADATA, METRICS, PLANE, VALIDATION, LATENTS, *_FOLDERS}
    strange = sorted(path.name for path in folder.iterdir() if path.name not in own and not path.name.endswith(".tmp"))
    if strange or folder.is_symlink():
        why = f"holds {', '.join(strange[:3])}, which is no part of a dataset" if strange else "is a link"
        raise OutputError(f"{folder} {why} — name another folder")


def _cleared(folder: Path) -> None:
    """The folder without the dataset in it, metadata.json first."""
    try:
        make_folder(folder)
        for name in (METADATA, METRICS, PLANE, VALIDATION, LATENTS):
            (folder / name).unlink(missing_ok=True)
        for path in (folder / name for name in _FOLDERS):
            if path.is_symlink():
                path.unlink()
            elif path.exists():
                shutil.rmtree(path)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error


def _written(planned: Planned, show: Callable[[Recorded], Iterator[Pixels]]) -> Iterator[str]:
    """Write a dataset; the path of each picture when it and the maps of its step are there."""
    recorded, folder = planned.recorded, planned.folder
    for step, (own, picture) in enumerate(zip(recorded.steps, show(recorded), strict=True)):
        write_bytes(folder / image_name(step), png(picture), sync=False)
        for number, layer in enumerate(recorded.pair.layers) if recorded.evaluated(own) else ():
            write_bytes(folder / map_name(number, layer, step), recorded.maps(layer, own).tobytes(), sync=False)
        yield image_name(step)
    if planned.latents:
        write_bytes(folder / LATENTS, _arrays(recorded, Measured.of(recorded)))
    for name in (METRICS, PLANE, METADATA):
        write_bytes(folder / name, planned.documents[name])
    report: Any = check(folder)
    count = len(read_json(folder / METADATA)["attention_files"])
    write_bytes(folder / VALIDATION, json_bytes(validation(report.errors, count)))
    if report.errors:
        raise OutputError(f"{folder} is not as it was written: {report.errors[0].line}")
