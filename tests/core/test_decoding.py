"""States decoded in parts, and memory that is short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch

from emnist_diff.assembly.record import _image_shape
from emnist_diff.engine.base import Base
from emnist_diff.errors import RunFailed
from emnist_diff.shortage import out_of_memory
from emnist_diff_plugins.decoding import NUMBERS, decoded
from emnist_diff_plugins.denoisers.gaussian_mixture import MixtureDenoiser
from emnist_diff_plugins.overlap.pinning import pinned

SHAPE = (4, 32, 32)
COUNT = NUMBERS // (4 * 32 * 32)
FULL = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB; see https://…")


@attrs.define
class Codec:
    """Decodes at most `most` states at once; the images depend on how many they are."""

    most: int = 1000
    error: Exception = FULL
    counts: list[int] = attrs.field(factory=list)
    shape: tuple[int, ...] = SHAPE

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        self.counts.append(len(x))
        if len(x) > self.most:
            raise self.error
        return x.mean(dim=(1, 2, 3)).reshape(-1, 1, 1, 1) + 1000 * len(x)


@pytest.mark.parametrize("batch", [1, 3, COUNT, 2 * COUNT + 1])
def test_as_many_are_decoded_at_once_whatever_the_batch(batch):
    codec, x = Codec(), torch.randn(2 * COUNT + 1, *SHAPE)
    whole = decoded(codec, x)
    assert torch.equal(decoded(codec, x[-batch:]), whole[-batch:])
    assert set(codec.counts) == {COUNT}
    assert decoded(codec, x[:0]).shape == (0, 1, 1, 1)


@pytest.mark.parametrize("error", [FULL, MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_where_memory_is_short_fewer_are_decoded_at_once(error):
    codec, x = Codec(most=1, error=error), torch.randn(6, *SHAPE)
    assert torch.equal(decoded(codec, x), x.mean(dim=(1, 2, 3)).reshape(-1, 1, 1, 1) + 1000)
    assert codec.counts == [4, 2, 1, 1, 1, 1, 1, 1]
    said = r"the memory of cpu does not hold the image of one more state of shape \(4, 32, 32\) — use a smaller --batch"
    with pytest.raises(RunFailed, match=said):
        decoded(Codec(most=0, error=error), x)


def test_a_decoder_that_fails_otherwise_is_named(make_engine):
    with pytest.raises(RunFailed, match="the denoiser failed to decode: ValueError: no such thing"):
        decoded(Codec(most=0, error=ValueError("no such thing")), torch.zeros(1, *SHAPE))
    failing = attrs.evolve(make_engine(), decoder=fails(ValueError("no such thing")))
    with pytest.raises(RunFailed, match="decoding raised ValueError: no such thing"):
        failing.decode(torch.zeros(1, *SHAPE))


def test_the_shape_of_images_is_said_or_seen(make_engine, cli, monkeypatch):
    assert _image_shape(attrs.evolve(make_engine(), denoisers={"": Codec()})) == (1, 1, 1)
    monkeypatch.setattr(MixtureDenoiser, "decode", lambda self, x: pytest.fail("a dry run decoded"))
    for shape in ("[1,8,8]", "[16]", "[4,2,2]"):
        assert cli("run", "--denoiser", f"gaussian-mixture:shape={shape},classes=ABC", "--dry-run").code == 0


def fails(error: Exception) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        raise error

    return call


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("denoiser", "the denoiser"),
        ("force", "force 'Toward'"),
        ("drift", "drift 'Moving'"),
        ("noise", "drawing noise"),
    ],
)
def test_memory_that_a_step_lacks_is_said_in_one_line(make_engine, walk_all, part, what):
    class Toward:
        def conditions(self, at):
            return ()

        __call__ = staticmethod(fails(FULL))

    class Moving:
        __call__ = staticmethod(fails(FULL))

    engine = make_engine(
        base=Base("cond"),
        forces=[(Toward(), 1.0)] if part == "force" else [],
        drifts=[Moving()] if part == "drift" else [],
    )
    if part == "denoiser":
        engine = attrs.evolve(engine, evaluators={"": fails(FULL)})
    if part == "noise":
        engine = attrs.evolve(engine, normal=fails(FULL))
    with pytest.raises(RunFailed) as raised:
        walk_all(engine)
    said = str(raised.value)
    assert said.startswith(f"{what}: memory does not suffice — use a smaller --batch-size or --micro-batch (step ")
    assert "Tried" not in said


def test_what_cannot_be_pinned_is_plain_memory(monkeypatch):
    empty = torch.empty

    def short(*shape: Any, pin_memory: bool = False, **more: Any) -> torch.Tensor:
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return empty(*shape, **more)

    monkeypatch.setattr(torch, "empty", short)
    assert pinned(2, 3).shape == (2, 3)


def test_what_says_that_memory_is_short():
    wrapped = RuntimeError("the kernel failed")
    wrapped.__cause__ = FULL
    assert all(map(out_of_memory, (wrapped, RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling …"))))
    assert not any(map(out_of_memory, (RuntimeError("shapes differ"), ValueError("out of memory"), None)))
