"""``emnist-diff plugins new``."""

from __future__ import annotations

from pathlib import Path

import typer

from emnist_diff_trajectory.printing import echo


def new(
    name: str = typer.Argument(help="The distribution's name, e.g. my-forces; the module is called my_forces."),
    kind: str = typer.Option(..., help="force, drift, sink, scheduler, denoiser, codec or preset."),
    trainable: bool = typer.Option(False, "--trainable", help="Of a denoiser: one for emnist-diff train."),
    several: bool = typer.Option(False, "--several", help="Two components in one package."),
    directory: Path | None = typer.Option(None, help="Where the package's folder is made. [default: here]"),
) -> None:
    """Write a new plugin package: a component that works, its tests, and all that it takes to publish it.

    It installs as it is, passes its own tests, and satisfies ruff and mypy.

    Example:  emnist-diff plugins new my-forces --kind force
    """
    from emnist_diff.errors import ConfigError
    from emnist_diff_testing.scaffold import create

    if trainable and kind != "denoiser":
        raise ConfigError(f"--trainable is of --kind denoiser, and not of {kind!r}")
    for path in create(name, "trainable-denoiser" if trainable else kind, several, directory):
        echo(f"  {path}")
    root = (Path() if directory is None else directory) / name
    echo(f"next: pip install -e '{root}[test]' && pytest {root}")
