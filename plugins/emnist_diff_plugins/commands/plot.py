"""``emnist-diff plot``, ``report`` and ``compare``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import typer

from emnist_diff.errors import ConfigError, OutputError
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_trajectory.printing import echo

plot_app = typer.Typer(add_completion=False, rich_markup_mode=None)
report_app = typer.Typer(add_completion=False, rich_markup_mode=None)
compare_app = typer.Typer(add_completion=False, rich_markup_mode=None)

_THEME = typer.Option("light", help="dark, light or paper (for print: one column wide, no grid).")
_PLUGIN_FILE = typer.Option([], "--plugin-file", help="A Python file with plugins of your own; may be repeated.")
_CHECKPOINT = typer.Option(
    None,
    help="The checkpoint that made the files, where states are no pictures. "
    "[default: the one with the recorded hash, if it is near]",
)
_JSON = typer.Option(False, "--json", help="Print the result as JSON.")


@plot_app.command()
def plot(
    files: list[Path] = typer.Argument(help="Trajectory files; several are drawn side by side."),
    plots: list[str] = typer.Option(
        [], "--plot", help='A plot, with settings as in "denoising_strips:samples=3"; may be repeated. [default: all]'
    ),
    format: str = typer.Option("png", help="png, svg or pdf."),
    theme: str = typer.Option("dark", help="dark, light or paper (for print: one column wide, no grid)."),
    output: Path | None = typer.Option(
        None, "--output", "--output-dir", help="Directory to write into. [default: plots, beside the first file]"
    ),
    names: bool = typer.Option(False, "--list", help="Only say which plots these files allow."),
    checkpoint: str | None = _CHECKPOINT,
    as_json: bool = _JSON,
    plugin_file: list[Path] = _PLUGIN_FILE,
) -> None:
    """Draw what trajectory files hold: one picture a plot, replacing those of the same names. The same file gives the
    same bytes.

    Examples:  emnist-diff plot output/A/trajectory.h5 --theme paper --format pdf    emnist-diff plot ONE OTHER --plot
    cumulative_l2
    """
    from emnist_diff_plugins.plots.chosen import choose, open_runs
    from emnist_diff_plugins.plots.figure import FORMATS, matplotlib, render
    from emnist_diff_plugins.plots.theme import theme as named
    from emnist_diff_trajectory.files import write_bytes

    if format not in FORMATS:
        raise ConfigError(f"--format {format!r}: use one of {', '.join(FORMATS)}")
    colours, registry = named(theme), with_files(plugin_file)
    with ExitStack() as stack:
        runs = open_runs(stack, files, registry, checkpoint)
        chosen = choose(registry, plots, runs)
        if not chosen.drawn:
            raise ConfigError(f"nothing to draw of {files[0]}: {chosen.line}")
        folder = files[0].parent / "plots" if output is None else output
        written = {} if names else {name: folder / f"{name}.{format}" for name in chosen.drawn}
        if written:
            matplotlib()
        for name, path in written.items():
            write_bytes(path, render(chosen.drawn[name], runs, colours, format))
    if as_json:
        drawn = {name: str(path) for name, path in written.items()}
        typer.echo(json.dumps({"drawn": list(chosen.drawn) if names else drawn, "left_out": chosen.left_out}))
        return
    for name in chosen.drawn:
        echo(f"  {written.get(name, name)}")
    if chosen.left_out:
        echo(f"left out: {chosen.line}", err=True)


@report_app.command()
def report(
    file: Path = typer.Argument(help="A trajectory file."),
    output: Path | None = typer.Option(None, help="The page. [default: report.html, beside the file]"),
    theme: str = _THEME,
    video: bool = typer.Option(True, help="Put a video of some samples in, where PyAV is installed."),
    checkpoint: str | None = _CHECKPOINT,
    as_json: bool = _JSON,
    plugin_file: list[Path] = _PLUGIN_FILE,
) -> None:
    """Write a page about a run: what was run, images, plots, figures, and what is missing. One HTML file that needs no
    other and fetches nothing.
    """
    from emnist_diff_plugins.plots.chosen import open_runs
    from emnist_diff_plugins.plots.pages import report_page

    path = file.parent / "report.html" if output is None else output
    _check_page(path)
    with ExitStack() as stack:
        registry = with_files(plugin_file)
        (run,) = open_runs(stack, [file], registry, checkpoint)
        page = report_page(run, registry, theme, video)
    _written(path, page, as_json)


@compare_app.command()
def compare(
    files: list[Path] = typer.Argument(help="Two trajectory files or more; the first is what others differ from."),
    output: Path = typer.Option(Path("compare.html"), help="The page."),
    theme: str = _THEME,
    checkpoint: str | None = _CHECKPOINT,
    as_json: bool = _JSON,
    plugin_file: list[Path] = _PLUGIN_FILE,
) -> None:
    """Write a page about two runs or more: what differs in settings and figures, and plots of all side by side. One
    HTML file that needs no other and fetches nothing.

    Whether two files are the same, bit for bit, says emnist-diff diff.
    """
    from emnist_diff_plugins.plots.chosen import open_runs
    from emnist_diff_plugins.plots.pages import compare_page

    if len(files) < 2:
        raise ConfigError(f"one file alone, {files[0]}, is not compared — name another, or use emnist-diff report")
    _check_page(output)
    with ExitStack() as stack:
        registry = with_files(plugin_file)
        page = compare_page(open_runs(stack, files, registry, checkpoint), registry, theme)
    _written(output, page, as_json)


def _check_page(path: Path) -> None:
    """Raise `OutputError` for a page that would take the place of a directory; before the work and not after it."""
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a directory — name a file in it, such as {path / 'page.html'}")


def _written(path: Path, page: str, as_json: bool) -> None:
    from emnist_diff_trajectory.files import write_bytes

    data = page.encode("utf-8")
    write_bytes(path, data)
    if as_json:
        typer.echo(json.dumps({"output": str(path), "bytes": len(data)}))
    else:
        echo(f"{path}  ({len(data) / 1e6:.1f} MB)")
