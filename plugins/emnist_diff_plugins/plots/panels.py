"""Drawing that plots share: values over steps, values of samples. Axes are matplotlib's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emnist_diff_plugins.plots.runs import Floats, Run
from emnist_diff_plugins.plots.theme import Theme

FEW = 8
"""Samples up to which each is drawn as a line."""
FEW_BARS = 40
"""Samples up to which each has a bar."""
STEP = "step (noise → image)"
SHARE = "share of the run (noise → image)"


def over_steps(
    axis: Any, runs: Sequence[Run], theme: Theme, values: Callable[[Run], Floats], legend: bool = True
) -> None:
    """Values (M, K) of samples over the steps: of few samples a thin line each and their mean, of many their median
    and the ranges that hold half and nine tenths of them; of several runs median and middle half."""
    for number, run in enumerate(runs):
        series, style, at = values(run), theme.line(number), places(run.steps, run, runs)
        marker = dots(len(run.steps))
        count = len(series)
        if len(runs) > 1:
            _band(axis, at, series, (25, 75), style["color"], 0.25)
            axis.plot(at, np.median(series, axis=0), label=label(f"{run.name} ({count})"), **style, **marker)
        elif count <= FEW:
            axis.plot(at, series.T, color=theme.muted, linewidth=0.7, alpha=0.8)
            text = f"mean of {count}" if count > 1 else "the sample"
            axis.plot(at, series.mean(axis=0), label=text, **style, **marker)
        else:
            _band(axis, at, series, (5, 95), style["color"], 0.18, "90 %")
            _band(axis, at, series, (25, 75), style["color"], 0.32, "50 %")
            axis.plot(at, np.median(series, axis=0), label=f"median of {count}", **style, **marker)
    step_axis(axis, runs)
    if legend:
        axis.legend()


def dots(count: int, marker: str = "o") -> dict[str, Any]:
    """A mark at each of few steps; a line of a single one would not be seen without."""
    return {"marker": marker, "markersize": 2.5} if count <= 12 else {}


def apart(runs: Sequence[Run]) -> str:
    """What a displacement lies between, for the name of an axis: where some steps are not kept, it is of several."""
    whole = all(len(run.steps) == run.trajectory.steps for run in runs)
    return "a step" if whole else "between kept states"


def _band(
    axis: Any, at: Any, series: Floats, ends: tuple[int, int], colour: str, alpha: float, text: str | None = None
) -> None:
    low, high = np.percentile(series, ends, axis=0)
    axis.fill_between(at, low, high, color=colour, alpha=alpha, linewidth=0, label=text)


def places(steps: npt.NDArray[Any], run: Run, runs: Sequence[Run]) -> npt.NDArray[Any]:
    """Where steps of a run stand on the axis: at their number, or at their share of the run where runs have different
    numbers of steps."""
    if len({other.trajectory.steps for other in runs}) == 1:
        return steps
    return steps / max(1, run.trajectory.steps - 1)


def step_axis(axis: Any, runs: Sequence[Run], name: bool = True) -> None:
    """The x axis of everything that happens step by step."""
    counts = {run.trajectory.steps for run in runs}
    last = max(counts) - 1 if len(counts) == 1 else 1
    axis.set_xlim(-0.02 * max(1, last) - (last == 0), 1.02 * last + (last == 0))
    if len(counts) == 1:
        axis.xaxis.get_major_locator().set_params(integer=True)
    if name:
        axis.set_xlabel(STEP if len(counts) == 1 else SHARE)


def per_sample(
    axis: Any,
    runs: Sequence[Run],
    theme: Theme,
    values: Sequence[Floats],
    unit: str,
    span: tuple[float, float] | None = None,
) -> None:
    """One value a committed sample: bars by id and their mean where they are few and of one run, else how many samples
    have how much; values that are not finite are left out.

    values: (committed,) of each run.  span: what the axis of the values shows; what there is, when left out.
    """
    if len(runs) == 1 and len(values[0]) <= FEW_BARS:
        _bars(axis, runs[0], theme, values[0], unit, span)
        return
    finite = [v[np.isfinite(v)] for v in values]
    together = np.concatenate(finite)
    span = span or (float(together.min()), float(together.max()))
    if span[1] - span[0] <= 1e-9 * max(1.0, abs(span[1])):
        span = (span[0] - 0.5, span[1] + 0.5)
    bins = np.linspace(*span, 1 + min(30, max(8, round(2 * len(together) ** 0.5 / len(runs)))))
    for number, (run, value) in enumerate(zip(runs, finite, strict=True)):
        style = theme.line(number)
        many = len(runs) > 1
        text = label(f"{run.name} ({len(value)})") if many else None
        axis.hist(
            value, bins, histtype="stepfilled", color=style["color"], alpha=0.35 if many else 0.8, edgecolor="none"
        )
        if many:
            axis.hist(value, bins, histtype="step", label=text, linewidth=1.0, **style)
    top = axis.get_ylim()[1]
    for number, value in enumerate(finite):  # up to where the room for the legend begins
        dashes = theme.line(number)["linestyle"] if len(runs) > 1 else "--"
        axis.plot([value.mean()] * 2, [0.0, top], color=theme.text, linewidth=0.9, linestyle=dashes)
    axis.set_ylim(0.0, top)
    axis.set_xlabel(unit)
    axis.set_ylabel("samples")
    axis.yaxis.get_major_locator().set_params(integer=True)
    if len(runs) > 1:
        axis.set_ylim(top=top * (1.0 + 0.14 * len(runs)))  # room for the legend
        axis.legend()


def _bars(axis: Any, run: Run, theme: Theme, values: Floats, unit: str, span: tuple[float, float] | None) -> None:
    ids = run.trajectory.ids[run.committed]
    places = np.arange(len(ids))
    axis.bar(places, values, width=0.75, color=theme.cycle[0], linewidth=0)
    mean = float(np.nanmean(values))
    axis.axhline(mean, color=theme.cycle[1], linewidth=1.0, linestyle="--", label=f"mean {mean:.3g}")
    every = max(1, -(-len(ids) // 8))
    axis.set_xticks(places[::every], [str(n) for n in ids[::every].tolist()])
    axis.grid(visible=False, axis="x")
    axis.set_xlabel("sample id")
    axis.set_ylabel(unit)
    low, high = span or axis.get_ylim()
    axis.set_ylim(low, high + 0.18 * (high - low))  # room for the legend
    axis.legend(loc="upper right")


def absent(axis: Any, theme: Theme, why: str) -> None:
    """An empty panel that says why."""
    axis.set_axis_off()
    axis.text(0.5, 0.5, why, ha="center", va="center", color=theme.muted, transform=axis.transAxes, wrap=True)


def label(text: str) -> str:
    """A legend entry; matplotlib leaves out those with a leading underscore."""
    return f"‘{text}’" if text.startswith("_") else text


def by_name(axis: Any, run: Run, several: Sequence[Run]) -> None:
    """Which run a panel is of, where there are several."""
    if len(several) > 1:
        axis.set_title(run.name)


def need(runs: Sequence[Run], *fields: str) -> str:
    """The fields that not all of the runs hold, for `Plot.lacks`."""
    return " and ".join(field for field in fields if not all(run.holds(field) for run in runs))


def picture_need(runs: Sequence[Run]) -> str:
    """The same for what is drawn from pictures of states."""
    return next((run.picture_need for run in runs if run.picture_need), "")


def attention_need(runs: Sequence[Run], *kinds: str) -> str:
    """The same for what is drawn from attention of these kinds, of any where none is named."""
    for run in runs:
        if isinstance(run.attended, str):
            return run.attended
        if not any(run.attended.layers(kind) for kind in kinds or ("cross", "self")):
            return f"{kinds[0] if kinds else 'recorded'} attention"
    return ""


def token_need(runs: Sequence[Run], condition: str | None) -> str:
    """The same for what is drawn of the tokens of texts, where attention is there."""
    for run in runs:
        source = run.attended
        assert not isinstance(source, str)
        name = source.condition(condition)
        kept = [place for place in run.committed.tolist() if source.holds(place)]
        if not any(not token.special for place in kept for token in source.tokens(place, name)):
            return "the tokens of a text"
    return ""


def means(values: Floats) -> npt.NDArray[np.float64]:
    """(K,) over samples."""
    return np.asarray(values.mean(axis=0))
