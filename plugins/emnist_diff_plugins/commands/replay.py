"""``emnist-diff replay``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emnist_diff_plugins import parse
from emnist_diff_trajectory.commands.diff import difference_lines, differences
from emnist_diff_trajectory.printing import echo
from emnist_diff_trajectory.sample_ids import sample_ids


def replay(
    file: Path = typer.Argument(help="A trajectory file."),
    checkpoint: str | None = typer.Option(
        None, help="The checkpoint that made it. [default: the one with the recorded hash, if it is near]"
    ),
    guide: list[str] = typer.Option(
        [], "--guide", help="A guide that took part in making it, as NAME=FILE. [default: as for --checkpoint]"
    ),
    sample: str | None = typer.Option(None, help="Only samples with these ids, e.g. 3 or 0-9. [default: all]"),
    tolerance: float | None = typer.Option(
        None, min=0.0, help="Largest difference that counts as the same on another machine. [default: 0.001]"
    ),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with plugins that made it; may be repeated."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Make a recorded run again from the configuration and the seeds in its file, and compare everything it holds.

    Exit code 0 when every value is the same, bit for bit, or within the tolerance, which the output says; 1 when not.
    On the machine that made the file all bits are the same. It runs the plugins that the file names: replay files of
    people whom you trust.
    """
    from emnist_diff_plugins.analysis.replay import TOLERANCE
    from emnist_diff_plugins.analysis.replay import replay as again
    from emnist_diff_plugins.pluginfiles import with_files
    from emnist_diff_trajectory.reader import Trajectory

    allowed = TOLERANCE if tolerance is None else tolerance
    with Trajectory(file) as trajectory:
        done = again(
            trajectory,
            with_files(plugin_file),
            checkpoint=checkpoint,
            guides=parse.named_files(guide, "--guide"),
            samples=sample_ids(sample),
            tolerance=allowed,
        )
    verdict = "bitwise" if done.bitwise else "close" if done.close else "different"
    if as_json:
        data = {
            "verdict": verdict,
            "samples": done.samples,
            "tolerance": allowed,
            "environment": list(done.environment),
            **differences(done.differences),
        }
        typer.echo(json.dumps(data))
    else:
        what = {
            "bitwise": "the same, bit for bit",
            "close": f"the same to within {allowed:g}",
            "different": f"not the same, not even to within {allowed:g}",
        }
        lines = [f"{file}: {what[verdict]}: {done.samples} samples, {done.differences.values} values compared"]
        lines += difference_lines(done.differences)
        lines += [f"  otherwise here: {text}" for text in done.environment]
        for line in lines:
            echo(line)
    if verdict == "different":
        raise typer.Exit(1)
