"""States shown as images, as many at a time as memory holds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from emnist_diff.errors import EmnistDiffError, RunFailed
from emnist_diff.events import get_logger
from emnist_diff.protocols import Denoiser, HasImageShape, offers
from emnist_diff.shortage import out_of_memory

log = get_logger()

NUMBERS = 1 << 14
"""Of states, or of their images where these are larger, that are decoded together, at least one of which is: a decoder
that is a network wants much memory."""


def decoded(denoiser: Denoiser, x: Tensor) -> Tensor:
    """Images in [0, 1], (B, C, H, W), from states (B, *shape), where no gradients are wanted.

    States are decoded some at a time, as many whatever the batch has, so that a decoder's last bits do not depend on
    it; the last are repeated to fill up. Where memory is short, half as many are tried, down to one.
    Raises `RunFailed` where it does not suffice for one, and for a decoder that raises.
    """
    image = math.prod(denoiser.image_shape) if offers(denoiser, HasImageShape) else 1
    count = max(1, NUMBERS // max(1, math.prod(x.shape[1:]), image))
    while True:
        try:
            with torch.inference_mode():
                return _in_parts(denoiser, x, count)
        except EmnistDiffError:
            raise
        except Exception as error:
            if not out_of_memory(error):
                raise RunFailed(f"the denoiser failed to decode: {type(error).__name__}: {error}") from error
            if count == 1:
                raise RunFailed(
                    f"the memory of {x.device} does not hold the image of one more state of shape {tuple(x.shape[1:])} "
                    "— use a smaller --batch-size" + (", or --device cpu" if x.device.type != "cpu" else "")
                ) from error
            log.warning("memory.short", device=str(x.device), decoded=count, instead=count // 2)
        count //= 2
        if x.device.type == "cuda":
            torch.cuda.empty_cache()


def _in_parts(denoiser: Denoiser, x: Tensor, count: int) -> Tensor:
    out: Tensor | None = None
    for start in range(0, len(x), count):
        part = x[start : start + count]
        if short := count - len(part):
            part = torch.cat((part, part[-1:].expand(short, *part.shape[1:])))
        images = denoiser.decode(part)
        if out is None:
            out = images.new_empty((len(x), *images.shape[1:]))
        out[start : start + count] = images[: len(x) - start]
    return denoiser.decode(x) if out is None else out
