"""The family of what checkpoint files hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from emnist_diff.errors import CheckpointError
from emnist_diff.families import DenoiserFamily, Source
from emnist_diff.protocols import Denoiser
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.capabilities import WEIGHTS
from emnist_diff_plugins.containers import checkpoint, codecs
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.families import NetworkFamily
from emnist_diff_plugins.containers.networks import network_of
from emnist_diff_plugins.denoisers.coded import Coded
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_trajectory import files
from emnist_diff_trajectory.names import typed

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry


@attrs.frozen
class Checkpoint:
    """The network of a checkpoint file, by the family that the file names.

    ``--checkpoint FILE`` is short for ``--denoiser "checkpoint:path=FILE"``.

    Example: ``--denoiser checkpoint``
    """

    path: str | None = attrs.field(
        default=None,
        metadata={
            "help": "the file, or a folder whose newest epoch is taken; the shipped one when left out",
            "file": True,
            WEIGHTS: True,
        },
    )
    epoch: int | None = attrs.field(default=None, metadata={"help": "which epoch of a folder", WEIGHTS: True})

    @classmethod
    def opened(cls, path: Path, epoch: int | None) -> Checkpoint:
        """`OpensPaths`: every path that no other family opens, for `source` says what is wrong with it."""
        return cls(str(path), epoch)

    def source(self, registry: Registry) -> Source:
        """The network that the file names. Raises `CheckpointError` for a file that is none, and the errors of
        `components.make` for a family that is not installed or refuses the header's settings."""
        path = checkpoint.located(self.path, self.epoch)
        header = checkpoint.read_header(path)
        if header.role == "codec":
            raise CheckpointError(
                f"{path} holds a codec and no denoiser — train one on it: emnist-diff train unet2d --codec {path}"
            )
        network = network_of(registry, header)
        shape, load = _loading(network.object, path, header, registry)
        sha256 = files.sha256(path)
        facts = {"file": typed(path.name), "sha256": sha256, "epoch": header.epoch,
                 "schedule": unstructure(header.schedule)}  # fmt: skip
        if header.codec is not None:
            facts["codec"] = unstructure(header.codec)
        return Source(
            conditions=ClassSpace(header.classes, header.null_index, header.merged),
            process=header.schedule,
            prediction_type=header.prediction,
            shape=shape,
            load=load,
            recommended=header.recommended,
            label=str(path),
            identity=sha256,
            space="" if header.codec is None else header.codec.sha256,
            facts=facts,
            network=network,
        )


def _loading(
    family: NetworkFamily | DenoiserFamily, path: Path, header: CheckpointHeader, registry: Registry
) -> tuple[tuple[int, ...], Callable[[str], Denoiser]]:
    """The shape of one state, and what loads the network that a checkpoint holds. A family without weights has all that
    it needs in its settings. Raises `CheckpointError` where network and codec do not fit each other."""
    if not isinstance(family, NetworkFamily):
        own = family.source(registry)
        return own.shape, own.load
    network = family
    if header.codec is not None and tuple(network.shape) != header.codec.shape:
        raise CheckpointError(
            f"{path}: the network's states are of shape {tuple(network.shape)}, the latents of its codec of shape "
            f"{header.codec.shape}"
        )

    def load(device: str) -> Denoiser:
        header, weights = checkpoint.load(path)
        plain = {name: t for name, t in weights.items() if not name.startswith(codecs.PREFIX)}
        denoiser = network.with_weights(plain, header, device)
        if header.codec is None:
            return denoiser
        return Coded(denoiser, codecs.loaded(registry, header.codec, weights, device, str(path)))

    return network.shape, load
