"""Where the parts of a pipeline stay while a GPU computes: documents call it offloading."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import attrs
import torch

from emnist_diff.errors import ConfigError, EmnistDiffError, RunFailed
from emnist_diff.shortage import out_of_memory

Offload = Literal["none", "model", "sequential", "group"]

_LESS: dict[Offload, str] = {"none": "--offload model", "model": "--offload group", "group": "--offload sequential"}
"""What keeps less on the GPU than each does. A run that is resumed may name another."""


@contextmanager
def holding(what: str, device: str, offload: Offload, options: Sequence[str]) -> Iterator[None]:
    """Memory that ends inside is said in one line, with what helps.

    what: what it does not hold.  options: further settings that take less.
    Raises `RunFailed` where memory is short; other errors pass as they are.
    """
    try:
        yield
    except EmnistDiffError:
        raise
    except Exception as error:
        if not out_of_memory(error):
            raise
        gpu = torch.device(device).type != "cpu"
        resumed = [f"--resume {_LESS[offload]}"] if gpu and offload in _LESS else []
        raise RunFailed(
            f"the memory of {device} does not hold {what} — use {', or '.join([*resumed, *options])}; what was "
            "committed stays"
        ) from error


def require_useful(offload: Offload, device: str) -> None:
    """Raise `ConfigError` for offloading that would do nothing."""
    if offload != "none" and torch.device(device).type == "cpu":
        raise ConfigError(
            f"offload {offload!r} keeps weights in main memory while a GPU computes, and this run is on the CPU — "
            "leave --offload out"
        )


def placed(module: Any, device: str, offload: Offload) -> Any:
    """A module that was loaded into main memory, ready to compute on a device.

    ``none`` and ``model`` move it as a whole, ``sequential`` moves each layer when it computes and back again,
    ``group`` the same by hooks of diffusers.
    """
    if offload == "sequential":
        from accelerate import cpu_offload

        return cpu_offload(module, torch.device(device), offload_buffers=True)
    if offload == "group":
        from diffusers.hooks.group_offloading import apply_group_offloading

        apply_group_offloading(module, torch.device(device), torch.device("cpu"), offload_type="leaf_level")
        return module
    return module.to(device)


@attrs.define(eq=False)
class Turns:
    """Of ``model``: the parts take turns on the device, and stay in main memory in between."""

    device: str
    offload: Offload
    present: Any = None
    _lock: threading.RLock = attrs.field(factory=threading.RLock)

    @contextmanager
    def turn(self, module: Any) -> Iterator[None]:
        """A part on the device for as long as the context lasts. The one before leaves it; another thread, as that of
        the sinks, waits for its own turn."""
        if self.offload != "model":
            yield
            return
        with self._lock:
            if self.present is not module:
                if self.present is not None:
                    self.present.to("cpu")
                    torch.cuda.empty_cache()
                self.present = module.to(self.device)
            yield
