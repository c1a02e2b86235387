"""The option of the commands that look at real images."""

from __future__ import annotations

from typing import Any

import typer

DATASET: Any = typer.Option(
    None,
    help='Reader of --data: emnist, mnist, folder, or e.g. "folder:size=64". [default: emnist, or mnist for its files]',
)
