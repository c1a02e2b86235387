"""Calls of a network beside each other: what each gets, and on how many threads."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emnist_diff.direct import MOST
from emnist_diff_plugins.backends._streams import Cut, Streams


@given(rows=st.integers(1, 300), threads=st.integers(1, 70))
def test_a_cut_uses_what_there_is(rows, threads):
    cut = Cut.of(rows, threads)
    parts = -(-rows // cut.size)
    assert 1 <= cut.size <= MOST
    assert 1 <= cut.streams <= parts
    assert cut.streams * cut.threads <= threads
    assert parts * cut.size - rows < cut.size  # no part is all padding
    assert cut.threads == 1 or cut.size == 1  # bits would depend on where a row stands
    assert cut.streams * cut.threads > threads / 2


@pytest.mark.parametrize(
    ("rows", "threads", "cut"),
    [
        (32, 4, (8, 4, 1)),
        (64, 4, (8, 4, 1)),
        (32, 1, (8, 1, 1)),
        (2, 4, (1, 2, 2)),
        (1, 4, (1, 1, 4)),
        (5, 4, (2, 3, 1)),
    ],
)
def test_cuts(rows, threads, cut):
    assert Cut.of(rows, threads) == Cut(*cut)


@given(rows=st.integers(1, 300), threads=st.integers(1, 70))
def test_parts_in_turn_are_what_all_threads_compute_at_once(rows, threads):
    cut = Cut.in_turn(rows, threads)
    assert (cut.streams, cut.threads) == (1, threads)
    assert cut.size == min(rows, threads * Cut.of(rows, threads).size)


@pytest.mark.parametrize(
    ("cut", "shape", "threads"),
    [
        (Cut(1, 2, 2), (1, 28, 28), 1),
        (Cut(1, 1, 4), (1, 64, 64), 2),
        (Cut(1, 1, 4), (3, 256, 256), 4),
        (Cut(32, 1, 4), (1, 28, 28), 4),
        (Cut(8, 4, 1), (1, 8, 8), 1),
        (Cut(1, 1, 4), (16,), 1),
    ],
)
def test_small_images_are_worth_fewer_threads(cut, shape, threads):
    assert cut.fewer(shape) == Cut(cut.size, cut.streams, threads)


class Watched:
    """A network that says who called it: x + t + index, rows counted."""

    def __init__(self):
        self.calls: list[tuple[int, str, int, bool]] = []

    def __call__(self, x, t, index):
        now = threading.current_thread().name
        self.calls.append((len(x), now, torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return x + t[:, None] + index[:, None]


@pytest.mark.parametrize("cut", [Cut(3, 1, 1), Cut(3, 1, 2), Cut(3, 2, 1), Cut(4, 3, 2), Cut(1, 2, 3)])
@pytest.mark.parametrize("rows", [1, 3, 7, 12])
def test_every_row_gets_its_own_answer(cut, rows):
    before = torch.get_num_threads()
    network = Watched()
    streams = Streams(cut)
    x, t, index = torch.randn(rows, 5), torch.rand(rows), torch.arange(rows)
    got = streams(network, x, t, index)
    assert torch.equal(got, x + t[:, None] + index[:, None])
    assert got.is_contiguous()
    assert len(network.calls) == -(-rows // cut.size)
    assert {size for size, *_ in network.calls} == {cut.size}
    assert all(inference for *_, inference in network.calls)
    assert {threads for _, _, threads, _ in network.calls} == {cut.threads}
    assert threading.current_thread().name not in {name for _, name, *_ in network.calls}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("cut", [Cut(3, 1, 1), Cut(1, 2, 3)])
def test_how_many_threads_the_caller_has_means_nothing(cut):
    before, network = torch.get_num_threads(), Watched()
    streams = Streams(cut)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            streams(network, torch.ones(4, 1), torch.ones(4), torch.arange(4))
            assert streams.run(torch.get_num_threads) == cut.threads
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert {threads for _, _, threads, _ in network.calls} == {cut.threads}


def test_streams_work_at_the_same_time():
    both = threading.Barrier(2, timeout=10)

    def network(x, t, index):
        both.wait()
        return x

    x = torch.randn(2, 3)
    assert torch.equal(Streams(Cut(1, 2, 1))(network, x, torch.ones(2), torch.arange(2)), x)


@pytest.mark.parametrize("streams", [1, 2])
def test_what_a_network_raises_comes_back(streams):
    def network(x, t, index):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Streams(Cut(1, streams, 1))(network, torch.ones(4, 1), torch.ones(4), torch.arange(4))
