"""The bench of codecs, and the rules for them: there and back, for each image by itself."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, cast

import attrs
import torch
from torch import Tensor

from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, EmnistDiffError
from emnist_diff.structuring import unstructure
from emnist_diff_plugins.containers import codecs
from emnist_diff_plugins.containers.codecs import Codec
from emnist_diff_plugins.containers.families import CodecNetwork, Statistics
from emnist_diff_testing.models import seeded
from emnist_diff_testing.rules import rule
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_testing.traps import trap

_SHAPES = ((1, 28, 28), (1, 8, 8), (1, 16, 16), (1, 32, 32), (3, 32, 32), (3, 64, 64))
"""What a codec is offered as images, until it fits."""
_ODD = ((1, 9, 14), (4,), (2, 5, 5), (1, 1, 1), (3, 7, 7))
"""Images, and what is none, that many codecs cannot take."""
_IMAGES = 7


@attrs.define(eq=False, slots=False)
class CodecBench:
    """A codec with random weights, and images to encode."""

    subject: Subject
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.subject.name

    @cached_property
    def family(self) -> Any:
        """The codec's settings for images of `shape`."""
        family = self.subject.make()
        return attrs.evolve(family, **family.fitted(self.shape))

    def network(self) -> Any:
        """Its network, with the weights that training would start from."""
        with seeded(0):
            return self.family.network()

    @cached_property
    def codec(self) -> Codec:
        """The codec as a run has it, with statistics of its own."""
        network = self.network().eval().requires_grad_(False)
        tensors: dict[str, Tensor] = {
            **network.state_dict(),
            codecs.MEAN: torch.full(tuple(self.family.shape), 0.25),
            codecs.STD: torch.full(tuple(self.family.shape), 2.0),
        }
        config = ComponentConfig("checked", settings=cast(Mapping[str, Any], unstructure(self.family)))
        header = codecs.described(self.family, config, tensors)
        return Codec(header, network, tensors, tensors[codecs.MEAN], tensors[codecs.STD])

    @cached_property
    def images(self) -> Tensor:
        """(B, C, H, W) in [0, 1], black and white among them."""
        images = torch.rand(_IMAGES, *self.shape, generator=torch.Generator().manual_seed(5))
        images[0], images[1] = 0.0, 1.0
        return images


def bench(component: Any, name: str = "") -> CodecBench:
    """The bench of a codec, a class or an object. Raises as `subject`, and `ConfigError` for one that takes none of the
    images that it is offered."""
    found = subject("codec", component, name)
    for shape in _SHAPES:
        try:
            built = CodecBench(found, shape)
            built.family.network()
        except EmnistDiffError:
            continue
        return built
    raise ConfigError(f"{found.name}: fitted() takes images of none of the shapes {', '.join(map(str, _SHAPES))}")


@rule(
    "codec",
    "it says the shapes of its images and latents, and how latents are standardised",
    "a checkpoint's header holds them, and a denoiser is built for them",
)
def described(bench: CodecBench) -> Iterator[str]:
    for name in ("image_shape", "shape"):
        shape = getattr(bench.family, name)
        if not isinstance(shape, tuple) or not shape or not all(isinstance(n, int) and n >= 1 for n in shape):
            yield f"{name} is {shape!r}, no tuple of sizes"
    if tuple(bench.family.image_shape) != bench.shape:
        yield f"fitted to images {bench.shape}, it says {bench.family.image_shape}"
    if bench.family.statistics not in typing.get_args(Statistics):
        yield f"statistics is {bench.family.statistics!r}, none of {', '.join(typing.get_args(Statistics))}"
    network = bench.network()
    if not isinstance(network, torch.nn.Module) or not isinstance(network, CodecNetwork):
        yield f"network() gives {type(network).__name__}, no module with encode and decode"


@rule(
    "codec",
    "images become finite latents of its shape, and these images in [0, 1] of theirs",
    "states are latents, and what is drawn, filmed and judged is what decode gives",
)
def reconstruction(bench: CodecBench) -> Iterator[str]:
    network = bench.codec.network
    with torch.no_grad():
        latents = network.encode(bench.images)
        shown = network.decode(latents)
    for name, out, shape in (("encode", latents, bench.family.shape), ("decode", shown, bench.shape)):
        if not isinstance(out, Tensor) or out.dtype != torch.float32 or out.shape != (_IMAGES, *shape):
            got = f"{tuple(out.shape)} {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
            yield f"{name} gives {got} instead of float32 {(_IMAGES, *shape)}"
        elif not bool(torch.isfinite(out).all()):
            yield f"{name} gives what is not finite"
    with torch.no_grad():
        low, high = network.decode(50.0 * latents).aminmax()
    if not (float(low) >= 0.0 and float(high) <= 1.0):
        yield f"images of far latents reach {float(low):.3g} … {float(high):.3g}"


@rule(
    "codec",
    "not one bit of a latent or an image depends on the others of its batch, in calls of one size",
    "images are encoded and decoded in padded calls, so that files do not depend on how samples are batched",
)
def batch_independence(bench: CodecBench) -> Iterator[str]:
    states = bench.codec.encode(bench.images)
    order = torch.arange(_IMAGES - 1, -1, -1)
    for name, call, items in (("encode", bench.codec.encode, bench.images), ("decode", bench.codec.decode, states)):
        whole = call(items)
        for what, rows in (("in the opposite order", order), ("alone", order[:1]), ("beside copies", order[[3, 3, 3]])):
            if not torch.equal(call(items[rows]), whole[rows]):
                yield f"{name} gives other bits {what}"


@rule(
    "codec",
    "encode and decode draw no random numbers and change nothing that they are given",
    "a latent that is drawn belongs into the loss, which is given its noise",
)
def deterministic(bench: CodecBench) -> Iterator[str]:
    with torch.no_grad(), trap({"images": bench.images}) as trapped:
        states = bench.codec.encode(bench.images)
        bench.codec.decode(states)
        again = bench.codec.encode(bench.images)
    if not torch.equal(states, again):
        yield "the same images get other latents the second time"
    if trapped.changed or trapped.generators:
        yield f"it changed {', '.join((*trapped.changed, *trapped.generators))}"


@rule(
    "codec",
    "fitted() gives settings of exactly the images that it is given, or a ConfigError",
    "data that does not fit is said in one line before it is decoded",
)
def fits_or_refuses(bench: CodecBench) -> Iterator[str]:
    for shape in (*_SHAPES, *_ODD):
        family = bench.subject.make()
        try:
            fitted = attrs.evolve(family, **family.fitted(shape))
            network = fitted.network()
        except EmnistDiffError as error:
            if not isinstance(error, ConfigError):
                yield f"{shape}: {type(error).__name__} instead of a ConfigError"
            continue
        except Exception as error:
            yield f"{shape}: {type(error).__name__}: {error}"
            continue
        with torch.no_grad():
            latents = network.eval().encode(torch.zeros(1, *shape))
            shown = network.decode(latents)
        if tuple(fitted.image_shape) != shape or tuple(shown.shape[1:]) != shape:
            yield f"{shape}: it was taken, and comes back as {tuple(shown.shape[1:])}"
        elif tuple(latents.shape[1:]) != tuple(fitted.shape):
            yield f"{shape}: latents are {tuple(latents.shape[1:])}, and it says {tuple(fitted.shape)}"


@rule(
    "codec",
    "the loss is a finite number whose gradients reach the whole network, and training lowers it",
    "emnist-diff train minimises it",
)
def trains(bench: CodecBench) -> Iterator[str]:
    network = bench.network().train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    noise = torch.randn(_IMAGES, *bench.family.shape, generator=torch.Generator().manual_seed(6))
    losses: list[float] = []
    for _ in range(6):
        loss = network(bench.images, noise)
        if loss.dim() or not bool(torch.isfinite(loss)):
            yield f"the loss is {tuple(loss.shape)} {loss.detach().flatten()[:1].tolist()}, no finite number"
            return
        optimiser.zero_grad()
        loss.backward()
        if not losses and (idle := [name for name, p in network.named_parameters() if p.grad is None]):
            yield f"no gradient reaches {idle[0]}" + (f" and {len(idle) - 1} more" if len(idle) > 1 else "")
        optimiser.step()
        losses.append(float(loss.detach()))
    if losses[-1] >= losses[0]:
        yield f"six steps leave the loss at {losses[-1]:.4g}, from {losses[0]:.4g}"


@rule(
    "codec",
    "its weights fill another network of the same settings",
    "a checkpoint holds them, and every denoiser trained on it",
)
def same_again(bench: CodecBench) -> Iterator[str]:
    other = bench.family.network().eval()
    other.load_state_dict(bench.codec.network.state_dict())  # type: ignore[attr-defined]  # a module
    with torch.no_grad():
        if not torch.equal(other.encode(bench.images), bench.codec.network.encode(bench.images)):
            yield "the second one encodes otherwise"
