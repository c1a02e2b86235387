"""``emnist-diff whatif``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emnist_diff.errors import OutputError
from emnist_diff.events import get_logger
from emnist_diff_plugins import parse
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_trajectory.printing import echo
from emnist_diff_trajectory.sample_ids import sample_ids

if TYPE_CHECKING:  # not needed for --help
    from emnist_diff_plugins.analysis.whatif import WhatIf

_MOST_SHOWN = 12

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def whatif(
    file: Path = typer.Argument(help="A trajectory file of a run with forces or drifts."),
    without: list[str] = typer.Option(
        ...,
        "--without",
        help="What to leave out: a force or drift by name, 01_attract_class for one of several, clip, forces, or "
        "drifts; may be repeated.",
    ),
    sample: list[str] = typer.Option(
        [], "--sample", help="Only samples with these ids, e.g. 3 or 0-9,12; may be repeated. [default: all]"
    ),
    output: Path | None = typer.Option(
        None, "--output", "--output-dir", help="Directory to write into. [default: that of the file]"
    ),
    checkpoint: str | None = typer.Option(
        None,
        help="The checkpoint that made the file. [default: the one with the recorded hash, if it is near]",
    ),
    guide: list[str] = typer.Option(
        [],
        "--guide",
        help="A guide that took part in making the file, as NAME=FILE; may be repeated. [default: as for --checkpoint]",
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with plugins that made the file; may be repeated."
    ),
) -> None:
    """Make samples again, from the same noise, without a force or drift, and show what it did to them.

    Writes whatif-NAME.png (samples with, without, and the difference; and how it grew), whatif-NAME.csv (of every step)
    and whatif-NAME.json. It runs the plugins that the file names: use files of people whom you trust.

    Example:  emnist-diff whatif output/A/trajectory.h5 --without attract_class
    """
    from emnist_diff_plugins.analysis.whatif import what_if
    from emnist_diff_plugins.metrics.summary import describe
    from emnist_diff_plugins.metrics.tables import json_bytes, write_table
    from emnist_diff_trajectory.files import write_bytes
    from emnist_diff_trajectory.reader import Trajectory

    ids = sample_ids(",".join(sample) if sample else None)
    folder = file.parent if output is None else output
    stem = "whatif-" + re.sub(r"[^\w.+-]", "_", "+".join(dict.fromkeys(without)))[:80]
    paths = {suffix: folder / f"{stem}.{suffix}" for suffix in ("png", "csv", "json")}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise OutputError(f"{path} already exists — use --overwrite to replace it, or --output for another place")
    with Trajectory(file) as trajectory:
        found = what_if(
            trajectory,
            with_files(plugin_file),
            list(dict.fromkeys(without)),
            checkpoint=checkpoint,
            guides=parse.named_files(guide, "--guide"),
            samples=ids,
            on_batch=_progress,
        )
    summary = {
        "without": list(found.without),
        "samples": len(found.ids),
        "final_pixel_l2": describe(found.pixel_l2),
        "final_pixel_mean": describe(found.pixel_mean),
        "final_x_l2": describe(found.x[:, -1]),
        "half_way_step": describe(found.half_step[found.half_step >= 0]),
    }
    picture = _png(found)
    write_table(paths["csv"], _table(found))
    write_bytes(paths["json"], json_bytes({**summary, "videos": _videos(found)}))
    write_bytes(paths["png"], picture)
    if as_json:
        typer.echo(json.dumps({"output": str(folder), "files": [path.name for path in paths.values()], **summary}))
    else:
        changed = float(found.pixel_mean.mean())
        echo(
            f"without {', '.join(found.without)}: {len(found.ids)} samples differ by {changed:.1f} of 255 a pixel in "
            f"the mean — {', '.join(path.name for path in paths.values())} in {folder}"
        )


def _progress(done: int, total: int) -> None:
    """A line on how far it is, where there is more than one batch."""
    if done < total:
        get_logger().info("whatif.walked", done=done, total=total)


def _table(found: WhatIf) -> dict[str, Any]:
    import numpy as np

    count, columns = found.x.shape
    x0 = np.column_stack([found.x0, np.full(count, np.nan)])  # the finished sample has no estimate after it
    return {
        "vid_id": np.repeat(found.ids, columns),
        "step_index": np.tile(np.arange(columns), count),
        "x_difference_l2": found.x.ravel(),
        "x0_difference_l2": x0.ravel(),
    }


def _videos(found: WhatIf) -> list[dict[str, Any]]:
    return [
        {
            "vid_id": int(number),
            "character": name,
            "final_pixel_l2": float(l2),
            "final_pixel_mean": float(mean),
            "final_x_l2": float(x),
            "half_way_step": int(half) if half >= 0 else None,
        }
        for number, name, l2, mean, x, half in zip(
            found.ids,
            found.classes,
            found.pixel_l2,
            found.pixel_mean,
            found.x[:, -1],
            found.half_step,
            strict=True,
        )
    ]


def _png(found: WhatIf) -> bytes:
    import numpy as np

    from emnist_diff_plugins.figures import bare, moments, new_figure, png_of

    shown = moments(len(found.ids), _MOST_SHOWN)
    figure = new_figure(max(5.0, 1.2 + 0.95 * len(shown)), 6.0)
    upper, lower = figure.subfigures(2, 1, height_ratios=[3.2, 2.8])
    axes = upper.subplots(3, len(shown), squeeze=False)
    change = found.pixel_change if found.image.ndim == 3 else found.pixel_change.mean(-1)
    for column, number in enumerate(shown):
        for row, image in enumerate((found.image, found.other)):
            bare(axes[row, column], image[number], cmap="gray", vmin=0, vmax=255)
        bare(axes[2, column], change[number], cmap="PuOr_r", vmin=-255, vmax=255)
        named = "" if (name := found.classes[number]) is None else f"{name}, "
        axes[0, column].set_title(f"{named}v{found.ids[number]:03d}", fontsize=8)
    words = ("as recorded", "without\n" + "\n".join(found.without), "what it did\n(orange: lighter)")
    for row, text in enumerate(words):
        axes[row, 0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8)
    axis = lower.subplots()
    steps = np.arange(found.x.shape[1])
    low, middle, high = np.quantile(found.x, [0.05, 0.5, 0.95], axis=0)
    axis.fill_between(steps, low, high, color="#0072B2", alpha=0.25, linewidth=0, label="5 … 95 % of samples")
    axis.plot(steps, middle, color="#0072B2", label="median")
    axis.set_xlabel("step")
    axis.set_ylabel("L2 difference of the states")
    axis.set_xlim(0, steps[-1])
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    return png_of(figure)
