"""One process or many: what a worker must know of the others, and what they do together.

Several workers are started by ``accelerate launch`` (or ``torchrun``) and need the package accelerate.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff.assembly import choose_device
from emnist_diff.errors import ConfigError


@attrs.frozen(eq=False)
class Workers:
    """rank: which worker this is, 0 … count-1.  device: where it computes.  accelerator: None when it is alone."""

    rank: int
    count: int
    device: torch.device
    accelerator: Any = None

    @classmethod
    def join(cls, device: str) -> Workers:
        """The workers that the launcher started, or this process alone.

        Raises `ConfigError` when there are several and accelerate is missing.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return cls(0, 1, torch.device(choose_device(device)))
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise ConfigError(
                "training with several workers needs accelerate — pip install 'emnist-diff[train]'"
            ) from error
        accelerator = Accelerator(cpu=device == "cpu")
        return cls(accelerator.process_index, accelerator.num_processes, accelerator.device, accelerator)

    @property
    def first(self) -> bool:
        """Whether this worker writes the files."""
        return self.rank == 0

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network as the loop calls it; gradients are averaged over the workers."""
        return network if self.accelerator is None else self.accelerator.prepare_model(network)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the workers."""
        return values if self.accelerator is None else self.accelerator.reduce(values, "mean")

    def any(self, flag: bool) -> bool:
        """Whether any worker says so; all must ask."""
        if self.accelerator is None:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device), "sum") > 0)

    def wait(self) -> None:
        """Until every worker is here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()
