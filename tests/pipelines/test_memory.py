"""Memory that ends in the encoder, the network or the autoencoder of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from emnist_diff.assembly.assemble import assemble
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff_plugins.chooser.limits import Limits
from emnist_diff_plugins.chooser.priority import prepare
from emnist_diff_plugins.contract import MemoryShort
from emnist_diff_plugins.denoisers.pipelines import memory, parts
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.reader import Trajectory

Folder = Callable[[str], Path]

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB; see https://…")


def _short_at(monkeypatch: pytest.MonkeyPatch, part: str, method: str, calls: int, rows: int = 0) -> list[int]:
    """Have a method of a part raise from its call number `calls` on, if it is given more than `rows` rows. Returns the
    rows of each call."""
    load, seen = parts.part, []

    def loaded(folder: Any, name: str, *more: Any) -> Any:
        module = load(folder, name, *more)
        if name == part:
            own = getattr(module, method)

            def limited(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
                seen.append(len(x))
                if len(seen) >= calls and len(x) > rows:
                    raise FULL
                return own(x, *args, **kwargs)

            monkeypatch.setattr(module, method, limited)
        return module

    monkeypatch.setattr(parts, "part", loaded)
    return seen


@pytest.mark.parametrize(
    ("part", "method", "calls", "committed", "message"),
    [
        ("text_encoder_2", "forward", 1, 0, "does not hold text_encoder_2 of sdxl — use a smaller model; what was"),
        (
            "unet",
            "forward",
            4,
            1,
            "does not hold 4 rows of the network — use --attention-slicing, or a smaller --batch",
        ),
        ("vae", "decode", 2, 1, "does not hold the autoencoder's work on one image — use --vae-tiling, or a smaller"),
    ],
)
def test_what_was_committed_stays(
    cli: Any, pipeline: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, method: str, calls: int,
    committed: int, message: str,
):  # fmt: skip
    run = ("run", "--checkpoint", pipeline("sdxl"), "--prompt", "a cat", "--prompt", "a dog", "--steps", "2")
    run += ("--batch-size", "1", "--seed", "3", "--sink", "hdf5", "--output", tmp_path / "out")
    with monkeypatch.context() as limited:
        _short_at(limited, part, method, calls)
        ended = cli(*run)
    assert ended.code in (2, 6)
    (line,) = [line for line in ended.error.splitlines() if line.startswith("emnist-diff: ")]
    assert f"the memory of cpu {message}" in line
    assert line.endswith("what was committed stays")
    for path in (tmp_path / "out").rglob("trajectory.h5"):
        with Trajectory(path) as trajectory:
            assert trajectory.committed == list(range(committed))
    resumed = cli(*run, "--json", *(("--resume",) if committed else ("--overwrite",)))
    assert resumed.code == 0, resumed.error
    assert json.loads(resumed.out)["resumed"] == committed


def test_fewer_rows_are_tried_of_the_network_and_not_of_the_encoder(pipeline: Folder, monkeypatch: pytest.MonkeyPatch):
    registry = installed()
    settings, found = configure(
        registry, {"checkpoint": str(pipeline("sdxl")), "prompt": "a", "sinks": [], "device": "cpu"}
    )
    limits = Limits(
        device=torch.device("cpu"), precision="fp32", largest=8, total=8, rows=None, threads=1, identity="",
        variants=("attention_identity",),
    )  # fmt: skip

    def prepared(*short: Any) -> tuple[list[int], list[Any], Any]:
        with monkeypatch.context() as limited, capture_logs() as logs:
            seen = _short_at(limited, *short)
            denoiser = assemble(registry, settings, denoiser=found).engine.denoisers[""]
            try:
                rows = prepare(registry, ComponentConfig("eager"), denoiser, limits).rows
            except MemoryShort as error:
                rows = str(error)
            return seen, [log["instead"] for log in logs if log["event"] == "memory.short"], rows

    assert prepared("unet", "forward", 1, 2) == ([8, 4, 2], [4, 2], 2)
    seen, instead, message = prepared("unet", "forward", 1, 0)
    assert (seen, instead) == ([8, 4, 2, 1], [4, 2, 1])
    assert "does not hold 1 row of the network — use --attention-slicing, or" in message
    seen, instead, message = prepared("text_encoder", "forward", 1)
    assert (len(seen), instead) == (1, [])
    assert "does not hold text_encoder of sdxl" in message


@pytest.mark.parametrize(
    ("offload", "further"),
    [("none", "--resume --offload model, "), ("model", "--resume --offload group, "), ("sequential", "--vae")],
)
def test_on_a_gpu_offloading_is_what_helps(offload: memory.Offload, further: str):
    with (
        pytest.raises(Exception, match=f"^the memory of cuda:0 does not hold it — use {further}"),
        memory.holding("it", "cuda:0", offload, ["--vae-tiling", "less"]),
    ):
        raise FULL
    with pytest.raises(ValueError, match="another"), memory.holding("it", "cuda:0", offload, []):
        raise ValueError("another")
