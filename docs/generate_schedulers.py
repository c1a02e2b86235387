"""Rewrite the table of schedulers in ``schedulers.md`` and draw the plot: ``python docs/generate_schedulers.py``.

``--table`` leaves the plot as it is. The plot needs matplotlib, and takes the exact mixture and the reference from the
tests of the orders, so that page and tests say the same.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

from emnist_diff.discovery import installed
from emnist_diff.records import SchedulerSpec

HERE = Path(__file__).parent
PAGE = HERE / "schedulers.md"
PLOT = HERE / "images" / "schedulers-order.png"
BLOCK = re.compile(r"<!-- schedulers -->\n.*?<!-- /schedulers -->\n", re.DOTALL)
COUNTS = (8, 12, 18, 27, 40, 60, 90, 135)


def table() -> str:
    """All built-in schedulers, as they are registered."""
    lines = ["| scheduler | | order | noise | evaluations a step | walks |", "| --- | --- | --- | --- | --- | --- |"]
    for entry in installed().of(SchedulerSpec):
        s = entry.spec
        assert isinstance(s, SchedulerSpec)
        if s.factory.startswith("emnist_diff_plugins."):
            lines.append(f"| `{s.name}` | {s.summary} | {s.order} | {s.noise} | {s.evaluations} | {s.process}s |")
    return "\n".join(lines) + "\n"


def updated(page: str) -> str:
    """The page's text with the table as it is now."""
    return BLOCK.sub(f"<!-- schedulers -->\n\n{table()}\n<!-- /schedulers -->\n", page)


def _tests(name: str) -> ModuleType:
    path = HERE.parent / "tests" / "schedulers" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def plot() -> None:
    """Error over steps, log-log, of every scheduler that can do without noise."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import torch

    from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture

    world_of, orders = _tests("conftest").World, _tests("test_order")

    def world(**settings):
        return world_of(GaussianMixture(shape=(2,), classes="AB", spread=0.7, **settings))

    def curve(where, scheduler, x, exact, state):
        return [
            np.abs(where.walk(scheduler, n, torch.from_numpy(x)).states[state].numpy() - exact).max() for n in COUNTS
        ]

    figure, panels = plt.subplots(1, 2, figsize=(11, 5.6), sharey=True)
    colours = {1: "#4269d0", 2: "#3ca951", 3: "#ff725c", 4: "#a463f2"}
    marks = "os^Dv<>PX*hp"
    where, x, exact = orders.diffusion_in(world())
    drawn: dict[int, int] = {}
    for name, (scheduler, order, _) in orders.ROWS.items():
        errors = curve(where, scheduler(**orders.GRID), x, exact, -2)
        mark = marks[drawn.setdefault(order, 0)]
        drawn[order] += 1
        panels[0].loglog(COUNTS, errors, color=colours[order], marker=mark, markersize=4, lw=1, alpha=0.8, label=name)
    panels[0].set_title("diffusions: error at sigma = 0.05, karras from 40")
    where, x, exact = orders.flow_in(world(prediction="flow"))
    for i, (scheduler, order) in enumerate(orders.FLOWS):
        errors = curve(where, scheduler(), x, exact, -1)
        part = isinstance(scheduler, partial)
        name = (scheduler.func if part else scheduler).__module__.rpartition(".")[2] + ("-0" if part else "")
        panels[1].loglog(COUNTS, errors, color=colours[order], marker=marks[i], markersize=4, lw=1, label=name)
    panels[1].set_title("flows: error at s = 0, no shift")
    for panel in panels:
        for order, colour in colours.items():
            if panel is panels[0] or order <= 2:
                guide = 0.3 * (COUNTS[0] / np.array(COUNTS)) ** order
                panel.loglog(COUNTS, guide, color=colour, ls=":", lw=1.5)
                panel.annotate(f"order {order}", (COUNTS[-1], guide[-1]), color=colour, fontsize=8, xytext=(3, 0),
                               textcoords="offset points", va="center")  # fmt: skip
        panel.set_xlabel("steps")
        panel.set_xlim(COUNTS[0] * 0.9, COUNTS[-1] * 1.6)
        panel.grid(alpha=0.25, which="both")
        panel.legend(fontsize=7, ncols=2, loc="lower left")
    panels[0].set_ylabel("largest error over 12 samples")
    figure.tight_layout()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=110)


def main() -> None:
    before = PAGE.read_text(encoding="utf-8")
    after = updated(before)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
        print(f"rewrote {PAGE.name}")
    if "--table" not in sys.argv[1:]:
        plot()


if __name__ == "__main__":
    main()
