"""The vector arithmetic of the metrics: over the last axis, in float64, one row never looking at another.

What has no value, such as the angle to a vector of length zero, is NaN here and empty in a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emnist_diff.timeline import ProcessKind, rates

Array = npt.NDArray[np.float64]


def dot(a: Array, b: Array) -> Array:
    """Σ a b; (…, D) and (…, D) → (…)."""
    out: Array = (a * b).sum(-1)
    return out


def norm(a: Array) -> Array:
    """The L2 norm, (…, D) → (…)."""
    out: Array = np.sqrt(dot(a, a))
    return out


def ratio(over: Array, under: Array) -> Array:
    """over / under, NaN where that is zero."""
    out = np.full(np.broadcast_shapes(over.shape, under.shape), np.nan)
    np.divide(over, under, out=out, where=under != 0)
    return out


def cosine(a: Array, b: Array) -> Array:
    """a·b / (‖a‖ ‖b‖), -1 … 1; NaN where either is zero."""
    return np.clip(ratio(dot(a, b), norm(a) * norm(b)), -1.0, 1.0)


def statistics(a: Array) -> dict[str, Array]:
    """Mean, population standard deviation, minimum and maximum, (…, D) → (…) each."""
    return {"mean": a.mean(-1), "std": a.std(-1), "min": a.min(-1), "max": a.max(-1)}


def level_rates(alpha_bar: Array, path: ProcessKind) -> tuple[Array, Array]:
    """`timeline.rates` of each level: (signal, noise), (K,) each."""
    pairs = np.array([rates(value, path) for value in alpha_bar.tolist()], dtype=np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def x0_per_prediction(alpha_bar: Array, path: ProcessKind, kind: str) -> tuple[Array, Array]:
    """(a, b) such that the image estimate of a prediction p at x is a x + b p; (K,) each.

    kind: of the prediction, see `emnist_diff.parameterization`. NaN where a level has no signal and the prediction is
    of the noise.
    """
    signal, noise = level_rates(alpha_bar, path)
    one, zero = np.ones_like(signal), np.zeros_like(signal)
    forms: dict[str, Any] = {
        "epsilon": (ratio(one, signal), -ratio(noise, signal)),
        "v_prediction": (signal, -noise),
        "flow": (one, -noise),
        "sample": (zero, one),
    }
    a, b = forms[kind]
    return a, b


def displacement_per_prediction(alpha_bar: Array, alpha_bar_next: Array, path: ProcessKind, kind: str) -> Array:
    """By how much a state moves in a step for each unit that is added to the prediction, (K,).

    Exact for the first-order deterministic step (DDIM at eta 0, Song et al. 2021, arXiv:2010.02502, equation 12; Euler
    on a flow), which keeps the noise: x' = s' x0 + n' (x − s x0) / n. Of other schedulers it is the first order.
    """
    signal, noise = level_rates(alpha_bar, path)
    signal_next, noise_next = level_rates(alpha_bar_next, path)
    _, per_x0 = x0_per_prediction(alpha_bar, path, kind)
    return (signal_next - noise_next * ratio(signal, noise)) * per_x0
