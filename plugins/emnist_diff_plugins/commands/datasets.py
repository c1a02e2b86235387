"""``emnist-diff validate-dataset``, and what ``emnist-diff export --dataset`` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import typer

from emnist_diff.plugins import Registry
from emnist_diff_plugins import parse
from emnist_diff_trajectory.printing import echo
from emnist_diff_trajectory.sample_ids import sample_ids

if TYPE_CHECKING:  # not needed for --help
    from emnist_diff_plugins.diffulizer.writing import Planned

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def validate_dataset(
    folder: Path = typer.Argument(help="The folder of a dataset."),
    strict: bool = typer.Option(False, "--strict", help="Fail on warnings too."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    max_size: str | None = typer.Option(
        None, help="The most that it may have, e.g. 500MB; more is an error. [default: a warning above 200 MiB]"
    ),
) -> None:
    """Check a dataset that export --dataset has made: its JSON by the schema, lengths, steps and layers, that pictures
    open, that maps have their shape and sum to one, that nothing is missing, strange, or outside the folder.

    One line a problem. Exit code 1 where there is an error, with --strict also where there is a warning.

    Example:  emnist-diff validate-dataset dataset --strict
    """
    from emnist_diff_plugins.capacity import size
    from emnist_diff_plugins.diffulizer.checking import check

    report = check(folder, bytes_of_option(max_size))
    errors, warnings = report.counted["error"], report.counted["warning"]
    failed = bool(errors or (strict and warnings))
    if as_json:
        found = [{"level": each.level, "where": each.where, "what": each.what} for each in report.findings]
        counts = {"errors": errors, "warnings": warnings, "bytes": report.size, "maps": report.maps}
        typer.echo(json.dumps({"valid": not failed, **counts, "findings": found}))
    else:
        for each in report.findings:
            echo(f"{each.level}: {each.line}")
        left = errors + warnings - len(report.findings)
        more = f", {left} of them not shown" if left else ""
        result = f"{errors} error{'s'[: errors != 1]}, {warnings} warning{'s'[: warnings != 1]}{more}"
        echo(f"{folder}: {size(report.size)}, {report.maps} maps, {result}")
    if failed:
        raise typer.Exit(1)


def bytes_of_option(max_size: str | None) -> int | None:
    """What ``--max-size`` means; None without it."""
    return None if max_size is None else parse.bytes_of(max_size, "--max-size")


@attrs.frozen
class Requested:
    """Of which file and samples datasets are, and where they go."""

    file: Path
    folder: Path
    attention: Path | None
    condition: str
    samples: str | None
    progress: Path | None


def write_dataset(
    requested: Requested,
    most: int | None,
    latents: bool,
    existing: tuple[bool, bool],
    model: tuple[Registry, str | None],
    as_json: bool,
) -> None:
    """Export.  most: bytes.  existing: whether to keep datasets that are there, and whether to replace them.
    model: where the codec of latent states is found, and its checkpoint."""
    from emnist_diff_plugins.capacity import size
    from emnist_diff_plugins.diffulizer.pictures import Pictures
    from emnist_diff_plugins.diffulizer.progress import Progress
    from emnist_diff_plugins.diffulizer.recorded import opened
    from emnist_diff_plugins.diffulizer.writing import Export, export

    resume, overwrite = existing
    what = Export(latents=latents, most=most, overwrite=overwrite, resume=resume)
    with (
        Progress(requested.folder, requested.progress) as progress,
        opened(requested.file, requested.attention, requested.condition) as pair,
    ):
        show = Pictures(pair, *model)
        ids = sample_ids(requested.samples)
        planned: list[Planned] = export(pair, requested.folder, ids, what, show, progress)
        names = [layer.field for layer in pair.layers]
    if as_json:
        found = [{"folder": str(each.folder), "sample": each.recorded.sample, "bytes": each.size} for each in planned]
        typer.echo(json.dumps({"output": str(requested.folder), "datasets": found, "layers": names}))
        return
    total = sum(each.size for each in planned)
    count = "dataset of 1 sample" if len(planned) == 1 else f"datasets of {len(planned)} samples"
    echo(f"{count}, {len(names)} layers, at most {size(total)}, in {requested.folder}")
