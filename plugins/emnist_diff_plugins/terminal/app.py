"""``emnist-diff``: the Typer app, which has no command of its own."""

from __future__ import annotations

import typer

from emnist_diff import __version__
from emnist_diff_plugins.terminal.commands import PROGRAM
from emnist_diff_plugins.terminal.program import Program
from emnist_diff_trajectory.printing import echo

app = typer.Typer(
    name=PROGRAM,
    cls=Program,
    help="Steer and record diffusion: forces on the score, drifts on the state, every trajectory kept in HDF5.",
    epilog="""\b
First steps:
  emnist-diff run --character A --total-videos 10   then look into output/A/
  emnist-diff run --help                            forces, presets, videos, …
  emnist-diff inspect output/A/trajectory.h5 --sample 0

Exit codes: 0 done, 1 problems found, 2 wrong usage or setting, 3 plugin, 4 checkpoint, 5 trajectory file,
6 run failed, 7 output, 8 dataset, 130 interrupted, 141 the reader of the output went away.
""",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(value: bool) -> None:
    if value:
        echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Options before the command."""
