"""``emnist-diff view``."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emnist_diff.errors import ConfigError
from emnist_diff_plugins import parse
from emnist_diff_trajectory.printing import echo

if TYPE_CHECKING:  # not needed for --help
    from emnist_diff_plugins.viewer.serve import Server

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def view(
    files: list[Path] | None = typer.Argument(
        None, help="Trajectory files, or folders of runs; two are compared. [default: an example that is shipped]"
    ),
    port: int | None = typer.Option(None, min=1, max=65535, help="The port to serve at. [default: one that is free]"),
    browser: bool = typer.Option(True, "--open/--no-open", help="Open the page in a browser."),
    save: Path | None = typer.Option(None, help="Write the page into this file and serve nothing; it opens by itself."),
    embed: bool = typer.Option(False, "--embed", help="With --save: put the files into the page."),
    max_size: str | None = typer.Option(None, help="With --embed: the most that the page may take. [default: 50MB]"),
    overwrite: bool = typer.Option(False, "--overwrite", help="With --save: replace what is there."),
    as_json: bool = typer.Option(False, "--json", help="Print address, or file and size, as JSON."),
) -> None:
    """Show runs in the browser, step by step: states, forces, attention, metrics; two of them side by side.

    The page reads the files themselves, a few bytes at a time, from a server that answers this machine alone until
    Ctrl-C ends it. Nothing leaves the machine. What attend has captured from a file is shown with it. A run may still
    be going on.

    Examples:  emnist-diff view output/A    emnist-diff view ONE OTHER    emnist-diff view --save page.html --embed
    output/A
    """
    if save is None:
        if embed or overwrite or max_size is not None:
            option = "--embed" if embed else "--overwrite" if overwrite else "--max-size"
            raise ConfigError(f"{option} needs --save PAGE, the file to write")
        _serve(files or [], port, browser, as_json)
        return
    if port is not None:
        raise ConfigError("--save and --port exclude each other — a page that is saved is not served")
    if files and not embed:
        raise ConfigError(f"--save writes a page without data — use --embed to put {files[0]} into it")
    if embed and not files:
        raise ConfigError("--embed needs a trajectory file to put into the page")
    _save(files or [], save, max_size, overwrite, as_json)


def _serve(files: list[Path], port: int | None, browser: bool, as_json: bool) -> None:
    from emnist_diff_plugins.viewer.serve import Server
    from emnist_diff_plugins.viewer.shown import showing

    with showing(files) as shown, Server(shown, port or 0) as server:
        echo(json.dumps({"address": server.address}) if as_json else server.address)
        sys.stdout.flush()
        if not as_json:
            echo("The page is shown by a browser on this machine until Ctrl-C ends this.", err=True)
        if browser:
            _open(server)
        with suppress(KeyboardInterrupt):  # how it ends
            server.serve_forever()


def _open(server: Server) -> None:
    """Open the page, unless that would start a browser in this terminal or on no screen."""
    import webbrowser

    screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys()
    if not screen or not webbrowser.open(server.address):
        echo("No browser was found: open this address in one.", err=True)


def _save(files: list[Path], path: Path, max_size: str | None, overwrite: bool, as_json: bool) -> None:
    from emnist_diff_plugins.viewer.save import MOST, check_target, saved
    from emnist_diff_plugins.viewer.shown import showing

    most = MOST if max_size is None else parse.bytes_of(max_size, "--max-size")
    check_target(path, overwrite)
    with showing(files) as shown:
        page = saved(shown, most)
    if not as_json:
        for line in page.lines():
            echo(line, err=True)
    page.write(path, overwrite=overwrite)
    echo(json.dumps({"output": str(path), "bytes": len(page.html)}) if as_json else str(path))
