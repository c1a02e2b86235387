"""The numbers of one sample from step to step: of its states, and of what its network attends to. Document 002's are
under its names in `emnist_diff_plugins.diffulizer`; those that say more stand beside them.

States are (N, *shape), where each step ends. Float64 inside; what has no value is NaN here and null in a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff_plugins.metrics.formulas import Array, cosine, norm, ratio

SMALLEST = 1e-8
"""What document 002 adds to a product of norms, and what a share of attention is at least before it is compared."""

MOST_RANKED = 25
"""Tokens in a ranking."""


def flat(states: npt.NDArray[Any]) -> Array:
    """(N, *shape) as (N, D)."""
    return np.asarray(states, np.float64).reshape(len(states), -1)


def rounded(states: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """States as half precision keeps them, in which document 002 has them; one that it cannot hold as it is."""
    fits = np.abs(states).reshape(len(states), -1).max(1, initial=0) <= np.finfo(np.float16).max
    single = np.asarray(states, np.float32)
    if fits.all():
        return single.astype(np.float16).astype(np.float32)
    out = np.array(states)
    out[fits] = single[fits].astype(np.float16)
    return out


def l2_norms(states: npt.NDArray[Any]) -> Array:
    """The L2 norm of each, (N,)."""
    return norm(flat(states))


def cosine_to_previous(states: npt.NDArray[Any]) -> Array:
    """⟨x₋, x⟩ / (‖x₋‖ ‖x‖ + 1e-8) with the state before, of `rounded` states, (N,); NaN of the first.

    Where noise is most of a state, this is almost 1 whatever happens: see `cosine_of_updates`.
    """
    x = flat(rounded(states))
    out = np.full(len(x), np.nan)
    out[1:] = similarity(x[:-1], x[1:])
    return out


def similarity(a: Array, b: Array) -> Array:
    """⟨a, b⟩ / (‖a‖ ‖b‖ + 1e-8), (…, D) and (…, D) → (…)."""
    return np.asarray((a * b).sum(-1) / (norm(a) * norm(b) + SMALLEST))


def cosine_of_updates(states: npt.NDArray[Any]) -> Array:
    """The cosine between what a step changes and what the one before has changed, (N,); NaN of the first, and where a
    step changes nothing.

    states: (N+1, *shape), with the one that the first step starts from.
    """
    updates = np.diff(flat(states), axis=0)
    out = np.full(len(updates), np.nan)
    out[1:] = cosine(updates[:-1], updates[1:])
    return out


def xlogy(p: Array, q: Array) -> Array:
    """p ln q, 0 where p is."""
    return np.asarray(p * np.log(np.where(p > 0, q, 1.0)))


def entropy(p: npt.NDArray[Any]) -> Array:
    """How spread attention is: the mean over queries of -Σ p ln p in nats, (…, Q, K) → (…); 0 … ln K."""
    values = np.asarray(p, np.float64)
    return np.asarray(-xlogy(values, values).sum(-1).mean(-1))


def token_activation(p: npt.NDArray[Any]) -> Array:
    """What each key gets of attention in all: the mean over queries, (…, Q, K) → (…, K)."""
    return np.asarray(np.asarray(p, np.float64).mean(-2))


def kl_to_previous(activation: npt.NDArray[Any]) -> Array:
    """`divergence` of each step's token activation from the one before, (N, T) → (N,); NaN of the first. A step whose
    attention is not known has none, and the next one is compared with the last that is."""
    out, before = np.full(len(activation), np.nan), np.full(np.shape(activation)[1:], np.nan)
    for step, p in enumerate(np.asarray(activation, np.float64)):
        out[step] = divergence(p, before)
        before = p if np.isfinite(p).all() else before
    return out


def divergence(p: Array, q: Array) -> Array:
    """Σ p ln(p / q) of shares of attention, (…, T) and (…, T) → (…); NaN where either is not known. Both are at least
    1e-8 and then sum to one, as in document 002."""
    p, q = (np.maximum(each, SMALLEST) for each in (p, q))
    p, q = (each / each.sum(-1, keepdims=True) for each in (p, q))
    return np.asarray(xlogy(p, p / q).sum(-1))


def mean_of(values: Sequence[Array]) -> Array:
    """The mean of arrays of one shape, such as of several layers, added up in their order."""
    return np.asarray(sum(values[1:], values[0]) / len(values))


def masked(activation: npt.NDArray[Any], special: npt.NDArray[Any]) -> Array:
    """Token activation (N, T) without begin, end and filling, the rest summing to one again; NaN where none is left.

    special: (T,) bool.
    """
    kept = np.where(special, 0.0, np.asarray(activation, np.float64))
    return ratio(kept, kept.sum(-1, keepdims=True))


def means(values: Array) -> Array:
    """Means over the first axis of the entries that have a value; NaN where there is none."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(0), known.sum(0).astype(np.float64))


@attrs.frozen(eq=False)
class Dominance:
    """What tokens get of attention over a run.

    scores: (T,), the mean over steps.  ranking: (token, score) of the `MOST_RANKED` largest, the largest first.
    """

    scores: Array
    ranking: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, activation: npt.NDArray[Any]) -> Dominance:
        """Of token activation by step, (N, T); tokens without a value are not ranked."""
        return cls.ranked(means(np.asarray(activation, np.float64)))

    @classmethod
    def ranked(cls, scores: Array) -> Dominance:
        """Of scores (T,), NaN where there is none."""
        order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:MOST_RANKED]
        return cls(scores, tuple((int(k), float(scores[k])) for k in order if np.isfinite(scores[k])))


@attrs.frozen(eq=False)
class Plane:
    """States on the plane in which they differ most.

    points: (N, 2).  ratio: (2,), which part of their variance each axis has.
    """

    points: Array
    ratio: Array

    @classmethod
    def of(cls, states: npt.NDArray[Any]) -> Plane:
        """The first two principal components of states in single precision. Of a single state, and of states that are
        all the same, the points are zero; of the former the ratio is (1, 0), of the latter (0, 0).

        The largest weight of an axis is positive, so that the same states give the same points.
        """
        points, shares = np.zeros((len(states), 2)), np.zeros(2)
        if len(states) < 2:
            shares[0] = len(states)
            return cls(points, shares)
        x = flat(np.asarray(states, np.float32))
        u, s, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
        kept = min(2, len(s))
        signs = np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(1)])
        points[:, :kept] = u[:, :kept] * s[:kept] * signs
        shares[:kept] = ratio(s[:kept] ** 2, np.full(kept, (s**2).sum()))
        return cls(points, np.nan_to_num(shares))


def scaled(states: npt.NDArray[Any], signal: Array, noise: Array) -> Array:
    """States at one scale, whatever their noise: x / √(signal² + noise²).

    Of states x₀ + σ ε that is x / √(1 + σ²). Of diffusions as they are recorded, √ᾱ x₀ + √(1 - ᾱ) ε, it is the state
    itself, and of flows (1 - s) x₀ + s ε it is x / √((1 - s)² + s²).
    signal, noise: (N,).
    """
    return flat(states) / np.hypot(signal, noise)[:, None]
