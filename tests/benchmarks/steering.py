"""Does steering steer? Samples of the shipped checkpoint, with and without, as a classifier takes them.

    python tests/benchmarks/steering.py --data DIR [--split byclass] [--checkpoint FILE] [--classifier FILE]

For every force about classes, and every preset, it draws samples with and without it from the same noise, and prints

- the share that is taken for each class involved, beside the share without (look-alikes merged);
- kept: the share that is taken for the same class as its unsteered twin;
- sure: the classifier's mean probability for what it says, beside the one without: low where samples are no
  character.

A second table says what the scheduler's estimate of the image is taken for along the run, for the forces that
change in time. The classifier is the one of ``quality.py``: kept with ``--classifier FILE`` and trained only once.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import structlog
import torch
from quality import classifier, merged, train
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.running.run import execute
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.datasets.emnist import Emnist
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.pictures import save_png, table

MOMENTS = (0.25, 0.5, 0.75, 1.0)
"""Where along the run the estimates of the image are looked at; the last is the image."""


@attrs.frozen
class Case:
    """One row: what is steered, how it is written on the command line, the classes to look for, and the settings
    shared with the unsteered samples."""

    name: str
    written: str
    classes: tuple[str, ...]
    steered: dict[str, Any]
    plain: dict[str, Any]
    in_time: bool = False


@attrs.define
class Looks:
    """A sink that keeps the final images and, at `MOMENTS`, the estimates of them."""

    decode: Any
    early: dict[float, list[Tensor]] = attrs.field(factory=lambda: {moment: [] for moment in MOMENTS[:-1]})
    images: list[Tensor] = attrs.field(factory=list)

    def _moment(self, at: StepInfo) -> float | None:
        return next((m for m in self.early if round(m * (at.steps - 1)) == at.index), None)

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset() if self._moment(at) is None else frozenset({"x0"})

    def open(self, header: RunHeader) -> None: ...

    def write(self, frame: Frame) -> None:
        moment = self._moment(frame.at)
        if moment is not None and "x0" in frame:
            self.early[moment].append(self.decode(frame["x0"]).cpu())

    def commit(self, batch: BatchResult) -> None:
        self.images.append(batch.images.cpu())

    def close(self, outcome: Outcome) -> None: ...


@attrs.frozen(eq=False)
class Taken:
    """What samples are taken for: class indices along the run and at its end, (N,) each, and the mean probability
    of the answers at the end."""

    along: dict[float, Tensor]
    sure: float
    images: Tensor

    @property
    def end(self) -> Tensor:
        """The classes of the finished samples."""
        return self.along[1.0]


def drawn(settings: dict[str, Any], network: nn.Module, alike: Tensor) -> Taken:
    """Draw samples and ask the classifier, look-alikes merged."""
    assembly = assemble(installed(), configure(installed(), {**settings, "sinks": [], "batch_size": 40})[0])
    kept = Looks(assembly.engine.denoisers[""].decode)
    execute(attrs.evolve(assembly, sinks=(kept,)))
    images = {**{m: torch.cat(parts) for m, parts in kept.early.items()}, 1.0: torch.cat(kept.images)}
    with torch.inference_mode():
        answers = {moment: network(seen).softmax(1) for moment, seen in images.items()}
    sure = float(answers[1.0].max(1).values.mean())
    return Taken({moment: alike[p.argmax(1)] for moment, p in answers.items()}, sure, images[1.0])


def share(taken: Tensor, name: str, classes: Sequence[str], alike: Tensor) -> float:
    """The share that is taken for a class or its look-alikes."""
    return float((taken == alike[classes.index(name)]).float().mean())


def interval(shares: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """A 95 % bootstrap interval of the mean of per-sample outcomes."""
    chooser = random.Random(0)
    means = sorted(float(np.mean(chooser.choices(shares, k=len(shares)))) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def force(
    name: str,
    *classes: str,
    base: str = "uncond",
    character: str = "A",
    eta: float | None = None,
    in_time: bool = False,
    **said: Any,
) -> Case:
    """A case with one force."""
    written = f"{name}:" + ",".join(f"{key}={_as_text(value)}" for key, value in said.items())
    quote = "'" if '"' in written else '"'
    shown = f"--base {base} --force {quote}{written}{quote}"
    plain: dict[str, Any] = {"base": base, "character": character}
    if base != "uncond":
        shown += f" --character {character}"
    if eta is not None:
        shown += f" --scheduler ddim:eta={eta:g}"
        plain["scheduler"] = {"name": "ddim", "eta": eta}
    return Case(name, shown, classes, {**plain, "forces": [{"name": name, **said}]}, plain, in_time)


def preset(name: str, *classes: str, in_time: bool = False, **said: Any) -> Case:
    """A case with one preset."""
    plain = {"base": "uncond", "character": "A"}
    shown = f"--preset {name} --preset-args '{json.dumps(said)}'" if said else f"--preset {name}"
    steered = {"character": "A", "preset": {"name": name, "settings": said}}
    return Case(name, shown, classes, steered, plain, in_time)


def cases() -> list[Case]:
    """Everything that is tried."""
    blends = [
        force("blend_two", "3", "A", target="3", secondary="A", alpha=alpha, strength=3)
        for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    subtracted = [
        force("subtract_two", a, b, target=a, secondary=b, w_pos=2, w_neg=w)
        for a, b, negative in (("E", "F", (0, 1, 2)), ("Q", "O", (1,)), ("a", "A", (0, 1)), ("k", "K", (1,)))
        for w in negative
    ]
    switched = [
        force("switch_two", a, b, target=a, secondary=b, boundary=boundary, strength=3, in_time=True, **more)
        for a, b, boundary, more in (
            ("F", "E", 0.3, {}),
            ("F", "E", 0.4, {}),
            ("F", "E", 0.5, {}),
            ("O", "X", 0.1, {}),
            ("O", "X", 0.3, {}),
            ("O", "X", 0.3, {"eta": 1.0}),
        )
    ]
    windows = [
        force("attract_class", "B", target="B", strength=3, weight={"kind": "window", "from": a, "to": b}, in_time=True)
        for a, b in ((0, 0.3), (0.3, 1))
    ]
    ramps = [force("ramp_attract", "R", target="R", strength=4, power=power, in_time=True) for power in (1.0, 2.0, 4.0)]
    far = [[0, {"M": 3}], [0.5, {"M": 3, "W": 0}], [1, {"W": 3}]]
    near = [[0.2, {"F": 3}], [0.4, {"E": 3}]]
    return [
        *(force("attract_class", "B", target="B", strength=s) for s in (1, 2)),
        *(force("attract_class", "A", "B", base="cfg", target="B", strength=s) for s in (1, 3)),
        *windows,
        *(force("repel_class", "3", base="cond", character="3", target="own", strength=s) for s in (0.5, 1, 2)),
        *(force("repel_class", "3", base="cfg", character="3", target="own", strength=s) for s in (1, 2)),
        *subtracted,
        *blends,
        force("weighted_multi", "C", "T", "Z", weights={"C": 3, "T": 1.5, "Z": -1}),
        force("weighted_multi", "C", "T", weights={"C": 2, "T": 2}),
        *switched,
        *(
            force("cycle_classes", "A", "B", "C", class_list=["A", "B", "C"], period=p, strength=3, in_time=True)
            for p in (1, 8)
        ),
        *(
            force("oscillate_two", "3", "A", target="3", secondary="A", cycles=c, amp=3, in_time=True)
            for c in (0.25, 1, 3)
        ),
        *ramps,
        force("user_schedule", "M", "W", schedule=far, in_time=True),
        force("user_schedule", "F", "E", schedule=near, in_time=True),
        *(force("drift_noise", sigma=s) for s in (0.1, 0.3)),
        preset("null_wander"),
        preset("attract_class", "B", target="B", strength=3),
        preset("repel_class", "C", target="C", strength=1),
        preset("blend", "3", "8", a="3", b="8", w_a=1.5, w_b=1.5),
        preset("subtract", "E", "F", positive="E", negative="F", w_pos=3, w_neg=2),
        preset("oscillate", "3", "A", a="3", b="A", amp=3),
        preset("competitive", "3", "8", a="3", b="8", strength=2),
        preset("competitive", "3", "A", a="3", b="A", strength=2),
        preset("rotating_all", strength=2),
        preset("crystallize", "F", "E", a="F", b="E", boundary=0.35, strength=3, in_time=True),
        preset("chaos"),
        preset("ramp_to_class", "R", target="R", strength=4, in_time=True),
        preset("weighted_multi", "C", "G", weights={"C": 1.5, "G": 1.5}),
    ]


def network_for(asked: argparse.Namespace) -> tuple[nn.Module, tuple[str, ...]]:
    """The classifier, and the classes in the order of its answers."""
    held = Emnist(asked.data, asked.split, "test").load()
    classes: tuple[str, ...] = held.classes
    if asked.classifier is not None and asked.classifier.exists():
        network = classifier(len(classes))
        network.load_state_dict(load_file(asked.classifier))
        return network.eval(), classes
    learnt = Emnist(asked.data, asked.split, "train").load()
    network = train(torch.from_numpy(learnt.images), torch.from_numpy(learnt.labels), len(classes))
    if asked.classifier is not None:
        save_file(network.state_dict(), asked.classifier)
    return network, classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="byclass")
    parser.add_argument("--checkpoint")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--classifier", type=Path)
    parser.add_argument("--only", help="part of a name; only these cases")
    parser.add_argument("--sheet", type=Path, help="a PNG with ten samples of each case, steered under unsteered")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    network, classes = network_for(asked)
    alike = merged(classes)
    common: dict[str, Any] = {"total_videos": asked.samples, "steps": asked.steps, "scheduler": {"name": "ddim"}}
    if asked.checkpoint is not None:
        common["checkpoint"] = asked.checkpoint
    unsteered: dict[str, Taken] = {}
    pictures: list[np.ndarray] = []
    rows, times = [], []
    for case in cases():
        if asked.only and asked.only not in case.name:
            continue
        key = str(case.plain)
        if key not in unsteered:
            unsteered[key] = drawn({**common, **case.plain}, network, alike)
        without, taken = unsteered[key], drawn({**common, **case.steered}, network, alike)
        found = ", ".join(
            f"{c} {share(taken.end, c, classes, alike):.2f} ({share(without.end, c, classes, alike):.2f})"
            for c in case.classes
        )
        kept = float((taken.end == without.end).float().mean())
        rows.append(f"| `{case.written}` | {found or '—'} | {kept:.2f} | {taken.sure:.2f} ({without.sure:.2f}) |")
        print(rows[-1], flush=True)
        if case.in_time:
            along = (
                ", ".join(f"{c} {share(taken.along[m], c, classes, alike):.2f}" for c in case.classes) for m in MOMENTS
            )
            times.append(f"| `{case.written}` | {' | '.join(along)} |")
        for seen in (without.images, taken.images):
            pictures += [(image[0].numpy() * 255).round().astype(np.uint8) for image in seen[:10]]
    half = interval([1.0] * (asked.samples // 2) + [0.0] * (asked.samples - asked.samples // 2))
    print(f"\n{asked.samples} samples a row, {asked.steps} steps; a share of 0.5 is uncertain by "
          f"{half[0]:.2f} … {half[1]:.2f} (95 %)\n")  # fmt: skip
    print("| steering | taken for (without) | kept | sure (without) |\n| --- | --- | --- | --- |")
    print("\n".join(rows))
    print("\n| steering | " + " | ".join(f"at {m:g}" for m in MOMENTS) + " |\n| --- |" + " --- |" * len(MOMENTS))
    print("\n".join(times))
    if asked.sheet is not None:
        save_png(table(pictures, 10), asked.sheet, 2)


if __name__ == "__main__":
    main()
