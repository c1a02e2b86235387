"""Where a training writes what: flat in its directory, or in the folders of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from emnist_diff_plugins.containers.checkpoint import EXPERIMENTS
from emnist_diff_plugins.training.config import TrainConfig

Kind = Literal["samples", "final", "steps", "latents"]
"""Of a picture: drawn now and then while training, drawn of the finished model, of its denoising, of latents."""


@attrs.frozen
class Layout:
    """The folders of one training. The tables and ``resume/`` are in `output` itself.

    output: directory of the training.  checkpoints, samples, latents: folders of what every training writes.
    final, steps: of what only an experiment writes, else None; so are a copy of the settings, a log, the picture of
    the losses and a summary.
    """

    output: Path
    checkpoints: Path
    samples: Path
    latents: Path
    final: Path | None = None
    steps: Path | None = None

    @classmethod
    def of(cls, config: TrainConfig) -> Layout:
        """The layout of a training with these settings."""
        output = Path(config.output)
        if config.experiment is None:
            return cls(output, output, output / "samples", output / "samples")
        return cls(
            output,
            output / EXPERIMENTS,
            output / "epoch_samples",
            output / "latent_space",
            output / "final_samples",
            output / "denoising_steps",
        )

    @property
    def experiment(self) -> bool:
        """Whether the files of an experiment are written."""
        return self.final is not None

    def picture(self, kind: Kind, at: str, name: str) -> Path | None:
        """The file of a picture, None where it is not written.  at: the moment, ``epoch001``; "" for the end."""
        folder: Path | None = getattr(self, kind)
        return None if folder is None else folder / ("_".join(part for part in (at, name) if part) + ".png")
