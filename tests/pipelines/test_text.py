"""Long prompts in chunks, words with weights, and what is cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from emnist_diff_plugins.denoisers.pipelines.flux import Flux
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder
from emnist_diff_plugins.denoisers.pipelines.sdxl import Sdxl
from emnist_diff_plugins.denoisers.pipelines.text import Encoded, Encoder

Folder = Callable[[str], Path]


def encoded(folder: Path, encoder: Encoder, *texts: str) -> list[Encoded]:
    def placed(module: Any, part: str) -> Any:
        return module

    return encoder.encode(PipelineFolder.at(folder), texts, "cpu", placed)


def test_prompts_beyond_77_tokens_are_read_in_chunks(pipeline: Folder):
    long = "cat" * 30  # a token a letter
    one, two, other = encoded(pipeline("sdxl"), Sdxl.encoders[1], "a cat", long, long + "s")
    assert [len(each.chunks) for each in (one, two, other)] == [1, 2, 2]
    assert torch.equal(two.chunks[0], other.chunks[0])
    assert not torch.equal(two.chunks[1], other.chunks[1])
    assert one.filled(2).shape == two.filled(2).shape == (154, 24)
    assert torch.equal(one.filled(2)[77:], one.empty)


def test_weights_move_away_from_the_empty_text_and_toward_the_text_without_the_words(pipeline: Folder):
    texts = ("a cat", "a (cat:1)", "a (cat:1.5)", "a (cat:0)", "a (cat:0.5)")
    plain, same, heavy, none, half = (each.chunks[0] for each in encoded(pipeline("sdxl"), Sdxl.encoders[0], *texts))
    empty = encoded(pipeline("sdxl"), Sdxl.encoders[0], "")[0].empty
    assert torch.equal(same, plain)
    torch.testing.assert_close(heavy[:2], plain[:2])  # the mark and "a"
    torch.testing.assert_close(heavy[2:5], empty[2:5] + 1.5 * (plain[2:5] - empty[2:5]))
    torch.testing.assert_close(none[2:5], empty[2:5], rtol=1e-3, atol=1e-3)  # the words weigh nothing in either text
    # half of a weight of one half, and half of the text without the words: behind them only the latter differs
    torch.testing.assert_close(half[5:], (plain[5:] + none[5:]) / 2, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("encoder", "read"), [(0, 75), (1, 511)])
def test_a_prompt_that_is_cut_is_logged(pipeline: Folder, encoder: int, read: int):
    with capture_logs() as logs:
        encoded(pipeline("flux"), Flux.encoders[encoder], "a cat " * 120, "a cat")
    (log,) = logs
    assert log["event"] == "prompt.cut"
    assert log["read"] == read < log["tokens"]
    assert "cat" in log["lost"]
