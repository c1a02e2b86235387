"""One process or many: what a worker must know of the others, and what they do together.

Several workers are started by ``accelerate launch`` (or ``torchrun``) and need the package accelerate.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff.assembly.devices import choose_device
from emnist_diff.errors import ConfigError, RunFailed


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
        # the launcher's own choice of precision would wrap the network and belie what checkpoints say
        accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
        atexit.register(_leave)
        return cls(accelerator.process_index, accelerator.num_processes, accelerator.device, accelerator)

    @property
    def first(self) -> bool:
        """Whether this worker writes the files and speaks for all."""
        return self.rank == 0

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network as the loop calls it; gradients are averaged over the workers."""
        return network if self.accelerator is None else self.accelerator.prepare_model(network)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over the workers, the same for all of them; all must ask."""
        return values if self.accelerator is None else self.accelerator.reduce(values, "mean")

    def agree(self, *values: float) -> list[float]:
        """Each value's mean over the workers: a flag is above 0 when any of them raised it. All must ask."""
        return self.mean(torch.tensor(values, dtype=torch.float32, device=self.device)).tolist()

    def shared(self, text: str) -> str:
        """The first worker's text, in all of them; all must ask."""
        if self.accelerator is None:
            return text
        from accelerate.utils import broadcast_object_list

        first: list[str] = broadcast_object_list([text])
        return first[0]

    def first_only(self, work: Callable[[], None]) -> None:
        """The first worker does `work` while the others wait; when it fails, all fail. All must ask."""
        failure: Exception | None = None
        if self.first:
            try:
                work()
            except Exception as error:  # to be raised once the others know
                failure = error
        (failed,) = self.agree(failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise RunFailed("the first worker failed — its message says why")


def _leave() -> None:
    """Leave the other workers, whose threads would abort the process if they outlived the interpreter."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
