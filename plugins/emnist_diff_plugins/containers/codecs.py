"""The codec in a checkpoint: its network, the statistics of its latents, and what both are known by."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import torch
from torch import Tensor

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.onethread import one_thread
from emnist_diff.paths import local_path
from emnist_diff.plugins import Registry
from emnist_diff.protocols import offers
from emnist_diff_plugins.containers import checkpoint, diffusers_vae
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader, CodecHeader
from emnist_diff_plugins.containers.families import CodecFamily, CodecNetwork, Statistics
from emnist_diff_plugins.containers.weights import filled
from emnist_diff_plugins.contract import CodecSpec
from emnist_diff_plugins.decoding import NUMBERS

PREFIX = "codec/"
"""Of a codec's tensors in a checkpoint; those called MEAN and STD are the statistics, (*shape) each."""

MEAN, STD = "mean", "std"
_FLAT = 1e-6
"""A deviation below which latents say nothing and are left as they are."""


@attrs.frozen(eq=False)
class Codec:
    """A trained codec, ready to be used. States are latents, standardised: (latent - mean) / std.

    tensors: all that a checkpoint holds of it, without the prefix.
    Every call of the network is of `rows` images, padded, on one thread, so that the bits of an image do not depend on
    how many are encoded or decoded together.
    """

    header: CodecHeader
    network: CodecNetwork
    tensors: Mapping[str, Tensor]
    mean: Tensor
    std: Tensor

    @property
    def rows(self) -> int:
        """Images of one call of the network."""
        return max(1, min(64, NUMBERS // math.prod(self.header.image_shape)))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """States (B, *shape) of images (B, C, H, W) in [0, 1]."""
        return self._in_calls(
            lambda part: (self.network.encode(part) - self.mean) / self.std, images, self.header.shape
        )

    @torch.no_grad()
    def decode(self, states: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of states (B, *shape)."""

        def decoded(part: Tensor) -> Tensor:
            return self.network.decode(part * self.std + self.mean).clamp(0.0, 1.0)

        return self._in_calls(decoded, states, self.header.image_shape)

    def _in_calls(self, call: Callable[[Tensor], Tensor], items: Tensor, shape: tuple[int, ...]) -> Tensor:
        items = items.to(self.mean.device)
        out = items.new_empty((len(items), *shape), dtype=torch.float32)
        with one_thread(items.device):
            for start in range(0, len(items), self.rows):
                part = items[start : start + self.rows]
                if short := self.rows - len(part):
                    part = torch.cat((part, part[-1:].expand(short, *part.shape[1:])))
                out[start : start + self.rows] = call(part.contiguous())[: len(items) - start]
        return out

    def stored(self) -> dict[str, Tensor]:
        """Its tensors as a checkpoint names them."""
        return {PREFIX + name: tensor for name, tensor in self.tensors.items()}


def family_of(registry: Registry, config: ComponentConfig) -> tuple[CodecFamily, ComponentConfig]:
    """The codec of these settings, and all of its settings. Raises as `components.make`, `ConfigError` for a component
    that is no codec."""
    component = make(registry, CodecSpec, config)
    if not offers(component.object, CodecFamily):
        raise ConfigError(
            f"{component.label('codec')} is no codec: it lacks what containers.families.CodecFamily names"
        )
    return component.object, ComponentConfig(component.name, settings=component.settings)


def identity(name: str, network: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a codec: its name, its settings, and its tensors, in float32 and the order of their names. It is
    the same in the codec's own file and in those of all models that were trained on it."""
    digest = hashlib.sha256(json.dumps([name, dict(network)], sort_keys=True).encode())
    for key in sorted(tensors):
        tensor = tensors[key].detach().to("cpu")
        plain = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        digest.update(f"\0{key}\0{plain.dtype}\0{tuple(plain.shape)}\0".encode() + plain.numpy().tobytes())
    return digest.hexdigest()


def described(family: CodecFamily, config: ComponentConfig, tensors: Mapping[str, Tensor]) -> CodecHeader:
    """What a header says of a codec with these tensors, statistics among them."""
    settings = dict(config.settings)
    return CodecHeader(
        name=config.name,
        network=settings,
        shape=tuple(family.shape),
        image_shape=tuple(family.image_shape),
        sha256=identity(config.name, settings, tensors),
    )


def loaded(
    registry: Registry, header: CodecHeader, stored: Mapping[str, Tensor], device: str, what: str = "the checkpoint"
) -> Codec:
    """The codec that a header describes, of the tensors of its file.  what: how messages call that.

    Raises `CheckpointError` for tensors or statistics that are missing or do not fit, and for a codec that is not the
    one that the header was written for.
    """
    family, _ = family_of(registry, ComponentConfig(header.name, settings=header.network))
    tensors = {name.removeprefix(PREFIX): t for name, t in stored.items() if name.startswith(PREFIX)}
    statistics = {name: tensors.get(name) for name in (MEAN, STD)}
    for name, tensor in statistics.items():
        if tensor is None or tuple(tensor.shape) != header.shape:
            problem = "lacks" if tensor is None else "has mis-shaped"
            raise CheckpointError(f"{what} {problem} latent statistics {PREFIX + name!r} — train the codec again")
    for name, own in (("shape", family.shape), ("image_shape", family.image_shape)):
        if tuple(own) != (claimed := getattr(header, name)):
            raise CheckpointError(
                f"{what} does not fit its header: codec.{name} is {claimed}, its network's {tuple(own)}"
            )
    if identity(header.name, header.network, tensors) != header.sha256:
        raise CheckpointError(
            f"{what} holds another codec than its header names: the SHA-256 is not {header.sha256:.12}…"
        )
    weights = {name: t for name, t in tensors.items() if name not in (MEAN, STD)}
    network = filled(family.network, weights, device, f"the codec of {what}")
    mean, std = (tensors[name].to(device, torch.float32) for name in (MEAN, STD))
    return Codec(header, network, tensors, mean, std)  # type: ignore[arg-type]  # a module with encode and decode


def read(
    registry: Registry, path: str | Path, device: str, images: tuple[int, ...] | None = None
) -> tuple[Codec, Path]:
    """The codec in a file or a folder's newest epoch: a codec's own, or one of a model trained on it; or diffusers'
    autoencoder in a folder of its own, or of a pipeline; and that file or folder.

    images: (C, H, W) of those that diffusers' autoencoder is to take; those that it was trained on when left out.
    Raises as `checkpoint.discover` and `diffusers_vae.read`, `CheckpointError` for a file without a codec.
    """
    if (folder := diffusers_vae.folder_of(Path(local_path(path)))) is not None:
        return _of_diffusers(registry, folder, device, images), folder
    file = checkpoint.discover(Path(path))
    header, tensors = checkpoint.load(file)
    return loaded(registry, _codec_of(header, file), tensors, device, str(file)), file


def _of_diffusers(registry: Registry, folder: Path, device: str, images: tuple[int, ...] | None) -> Codec:
    settings, tensors, statistics = diffusers_vae.read(folder, images)
    family, config = family_of(registry, ComponentConfig(diffusers_vae.NAME, settings=settings))
    for name, value in zip((MEAN, STD), statistics, strict=True):
        each = torch.as_tensor(value, dtype=torch.float32)
        tensors[name] = each.reshape(-1, *(1,) * (len(family.shape) - 1)).expand(family.shape).clone()
    header = described(family, config, tensors)
    return loaded(registry, header, {PREFIX + name: t for name, t in tensors.items()}, device, str(folder))


def _codec_of(header: CheckpointHeader, file: Path) -> CodecHeader:
    if header.codec is None:
        raise CheckpointError(
            f"{file} holds no codec, but a {header.family} of pixels — train one: emnist-diff train vae"
        )
    return header.codec


def fit(latents: Tensor, kind: Statistics) -> tuple[Tensor, Tensor]:
    """(mean, std) of latents (N, *shape), (*shape) each; see `Statistics`."""
    exact = latents.double()
    if kind == "element":
        axes: tuple[int, ...] = (0,)
    elif kind == "channel":
        axes = (0, *range(2, latents.dim()))
    else:
        axes = tuple(range(latents.dim()))
    mean, std = exact.mean(axes, keepdim=True), exact.std(axes, unbiased=False, keepdim=True)
    mean = torch.zeros_like(mean) if kind == "scale" else mean
    std = torch.where(std > _FLAT, std, torch.ones_like(std))
    both = [value.float().expand(1, *latents.shape[1:])[0].clone() for value in (mean, std)]
    return both[0], both[1]
