"""The weights that a training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.events import get_logger
from emnist_diff.shown import shown
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.containers import codecs
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.training.batches import key

log = get_logger()

Start = tuple[CheckpointHeader, Mapping[str, Tensor]]
"""Header and weights of a checkpoint."""


def network(seed: int, family: Any, header: CheckpointHeader, start: Start | None) -> nn.Module:
    """The network of a family, initialised by the seed or by the checkpoint to start from. Raises `ConfigError` and
    `CheckpointError` for a checkpoint that does not fit `header`, which the training's own will have."""
    torch.manual_seed(key(seed, 4))
    fresh: nn.Module = family.network()
    if start is not None:
        _start_from(start, header, fresh)
    return fresh


def _start_from(start: Start, header: CheckpointHeader, network: nn.Module) -> None:
    """Load a checkpoint's weights; it must be of the same network, classes and space."""
    was, tensors = start
    for name in ("network", *(("classes",) if header.role == "denoiser" else ())):
        if (theirs := unstructure(getattr(was, name))) != (ours := unstructure(getattr(header, name))):
            raise ConfigError(f"init_from: the checkpoint has {name} = {shown(theirs)}, the training {shown(ours)}")
    if header.role == "denoiser":
        spaces = ["" if each.codec is None else each.codec.sha256 for each in (was, header)]
        if spaces[0] != spaces[1]:
            theirs, ours = (f"latents of the codec {space:.12}…" if space else "images" for space in spaces)
            raise ConfigError(f"init_from: the checkpoint's states are {theirs}, the training's {ours}")
    for name in ("prediction", "schedule"):
        if (theirs := unstructure(getattr(was, name))) != (ours := unstructure(getattr(header, name))):
            log.warning("train.init_from_differs", setting=name, checkpoint=theirs, training=ours)
    try:
        network.load_state_dict(_own_weights(tensors, header.role))
    except RuntimeError as error:
        raise CheckpointError(f"init_from: the checkpoint's weights do not fit its header: {error}") from error


def _own_weights(tensors: Mapping[str, Tensor], role: Literal["denoiser", "codec"]) -> dict[str, Tensor]:
    """The tensors of the network that a checkpoint is of, without prefix."""
    if role == "denoiser":
        return {name: t for name, t in tensors.items() if not name.startswith(codecs.PREFIX)}
    inside = {name.removeprefix(codecs.PREFIX): t for name, t in tensors.items()}
    return {name: t for name, t in inside.items() if name not in (codecs.MEAN, codecs.STD)}
