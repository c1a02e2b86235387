"""Figures of runs as rows of text, for pages."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emnist_diff_plugins.plots.final_image_stats import STATS
from emnist_diff_plugins.plots.runs import Floats, Run

_MISSING = "—"
_LONGEST = 400


def summary(run: Run) -> list[tuple[str, str]]:
    """What a run is, in a few lines."""
    file = run.trajectory
    config = file.config
    names, counts = np.unique(run.classes(run.committed), return_counts=True)
    classes = ", ".join(f"{name} × {count}" for name, count in list(zip(names, counts.tolist(), strict=True))[:50])
    return [
        ("file", file.path.name),
        ("samples", f"{len(run.committed)} of {len(file)} committed" + _kept(run)),
        ("classes", classes + (", …" if len(names) > 50 else "")),
        ("steps", f"{file.steps}, timestep {file.timestep[0]:g} → {file.timestep[-1]:g}"),
        ("scheduler", _component(config.get("scheduler"))),
        ("base", f"{config.get('base', '?')}, guidance scale {config.get('guidance_scale', '?')}"),
        ("forces", _components(config.get("forces"))),
        ("drifts", _components(config.get("drifts"))),
        ("recorded", ", ".join(file.fields) or "no states"),
    ]


def _kept(run: Run) -> str:
    return f", states of {len(run.positions)} kept" if len(run.positions) < len(run.committed) else ""


def _component(data: Any) -> str:
    if not isinstance(data, Mapping):
        return _MISSING
    settings = data.get("settings")
    listed = ", ".join(f"{k}={_text(v)}" for k, v in settings.items()) if isinstance(settings, Mapping) else ""
    weight = data.get("weight", 1)
    times = "" if weight in (1, 1.0, None) else f" × {_text(weight)}"
    return _short(f"{data.get('name', '?')}{f' ({listed})' if listed else ''}{times}")


def _components(data: Any) -> str:
    return "\n".join(_component(item) for item in data) if isinstance(data, list) and data else "none"


def flat(data: Mapping[str, Any]) -> dict[str, str]:
    """Settings as texts, one entry a key; tables within tables by their path, ``scheduler.settings.eta``."""
    out: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            out.update({f"{key}.{inner}": text for inner, text in flat(value).items()})
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                out.update({f"{key}[{number}].{inner}": text for inner, text in flat(item).items()})
        else:
            out[str(key)] = _short(_text(value))
    return out


def different(*settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Key, and all values, of what is not the same in all of these."""
    texts = [flat(data) for data in settings]
    keys = dict.fromkeys(key for text in texts for key in text)
    return [
        (key, *(text.get(key, _MISSING) for text in texts))
        for key in keys
        if len({text.get(key) for text in texts}) > 1
    ]


def quantities(run: Run) -> dict[str, Floats]:
    """One figure a sample, by name; of committed samples, or of those whose states are kept."""
    out: dict[str, Floats] = {}
    if run.holds("x"):
        out["Σ ‖Δx‖₂"] = run.latent_l2.sum(axis=1)
        out["largest ‖Δx‖₂ of a step"] = run.latent_l2.max(axis=1)
    if not run.picture_need:
        out["Σ ‖Δpixels‖₂"] = run.pixel_l2.sum(axis=1)
    for field in ("base", "prediction"):
        if run.holds(field):
            out[f"‖{field}‖₂, mean over steps"] = run.norms(field).mean(axis=1)
    if run.holds("forces"):
        for name, norms in zip(run.force_names, run.force_norms(), strict=True):
            out[f"‖{name}‖₂, mean over steps"] = norms.mean(axis=1)
    for name, values in zip(STATS, run.final_pixels, strict=True):
        out[f"final image: {name}"] = values
    if "seconds" in run.measured:
        out["seconds"] = run.measured["seconds"]
    if "gpu_mb" in run.measured:
        out["peak GPU memory, MB"] = run.measured["gpu_mb"]
    return out


HEAD = ("", "mean", "std", "min", "5 %", "median", "95 %", "max")


def spread(run: Run) -> list[tuple[str, ...]]:
    """Of each quantity, how it is spread over samples; columns are `HEAD`."""
    return [(name, *_spread(values)) for name, values in quantities(run).items()]


def _spread(values: Floats) -> list[str]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [_MISSING] * (len(HEAD) - 1)
    low, *quantiles, high = np.quantile(finite, (0.0, 0.05, 0.5, 0.95, 1.0)).tolist()
    return [number(v) for v in (float(finite.mean()), float(finite.std()), low, *quantiles, high)]


def by_class(run: Run, most: int) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Head and rows of a table: mean ± std of a few quantities in each of the classes with most samples."""
    chosen = ["Σ ‖Δx‖₂", "Σ ‖Δpixels‖₂", *(f"final image: {name}" for name in STATS[:2]), "seconds"]
    found = {name: values for name, values in quantities(run).items() if name in chosen}
    names = {len(run.committed): run.committed, len(run.positions): run.positions}
    rows = []
    labels = run.trajectory.labels
    classes, counts = np.unique(labels[run.committed], return_counts=True)
    frequent = np.sort(classes[np.argsort(-counts, kind="stable")[:most]])
    for label in frequent.tolist():
        cells = [run.classes(np.flatnonzero(labels == label)[:1])[0], str(int(counts[classes == label][0]))]
        for values in found.values():
            of_class: npt.NDArray[Any] = values[labels[names[len(values)]] == label]
            of_class = of_class[np.isfinite(of_class)]
            cells.append(
                f"{number(float(of_class.mean()))} ± {number(float(of_class.std()))}" if len(of_class) else _MISSING
            )
        rows.append(tuple(cells))
    return ("class", "samples", *found), rows


def beside(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Mean ± std of each quantity in each run, and by how much the means of the others differ from the first's."""
    found = [quantities(run) for run in runs]
    rows = []
    for name in dict.fromkeys(name for values in found for name in values):
        parts = [q[name][np.isfinite(q[name])] if name in q else np.empty(0) for q in found]
        cells = [f"{number(float(p.mean()))} ± {number(float(p.std()))}" if len(p) else _MISSING for p in parts]
        first, *others = parts
        gaps = [
            number(float(p.mean() - first.mean()), sign=True) if len(p) and len(first) else _MISSING for p in others
        ]
        rows.append((name, *cells, *gaps))
    return rows


def number(value: float, sign: bool = False) -> str:
    """A figure in four digits."""
    if not math.isfinite(value):
        return "∞" if value > 0 else _MISSING
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
