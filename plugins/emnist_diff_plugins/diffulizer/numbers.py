"""The numbers of a sample: document 002's eight metrics by step and its plane of states, and better ones beside."""

from __future__ import annotations

import json
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.diffulizer.recorded import Layer, Recorded
from emnist_diff_plugins.metrics import trace
from emnist_diff_plugins.metrics.attention import token_means
from emnist_diff_plugins.metrics.formulas import Array
from emnist_diff_plugins.metrics.tables import finite, listed


@attrs.frozen(eq=False)
class Measured:
    """A sample's states where steps end, the noise that was predicted in them, and the files of numbers."""

    latents: Array
    noise: Array
    metrics: dict[str, Any]
    plane: dict[str, Any]

    @classmethod
    def of(cls, recorded: Recorded) -> Measured:
        """Raises as `Recorded`."""
        states = recorded.states()
        latents, noise = states[1:], recorded.noise()
        by_state = {
            "latent_l2_norm": listed(trace.l2_norms(latents)),
            "predicted_noise_l2_norm": listed(trace.l2_norms(noise)),
            "cosine_similarity_to_previous": listed(trace.cosine_to_previous(latents)),
            "cosine_of_updates": listed(trace.cosine_of_updates(states)),
        }
        scaled = trace.scaled(latents, *recorded.rates())
        plane = {
            **_plane(trace.Plane.of(trace.rounded(latents))),
            "scaled": _plane(trace.Plane.of(scaled)),
        }
        return cls(latents, noise, by_state | attention_metrics(recorded), plane)


def attention_metrics(recorded: Recorded) -> dict[str, Any]:
    """What follows from attention alone. Of a joint layer, what tokens get is taken as shares of what the text gets."""
    layers = list(enumerate(recorded.pair.layers))
    cross = [(number, layer) for number, layer in layers if layer.kind == "cross"]
    activation, text_share = _activation(recorded, cross)
    special = np.array(recorded.tokens()["special"], bool)
    masked = trace.masked(activation, special) if cross else np.full_like(activation, np.nan)
    silent = np.full(len(activation), np.nan)
    return {
        "attention_kl_divergence": listed(trace.kl_to_previous(activation) if cross else silent),
        "cross_attention_entropy": _entropies(recorded, cross),
        "self_attention_entropy": _entropies(recorded, [(i, layer) for i, layer in layers if layer.kind == "self"]),
        "mean_token_activation": listed(activation),
        "token_dominance": _dominance(activation),
        "masked_attention_kl_divergence": listed(trace.kl_to_previous(masked) if cross else silent),
        "masked_token_dominance": _dominance(masked),
        "text_share": text_share,
    }


def _activation(recorded: Recorded, cross: list[tuple[int, Layer]]) -> tuple[Array, dict[str, Any]]:
    """The mean over layers of what each token gets, (N, T), zeros without any; and of joint layers what the text gets
    of all attention, by layer."""
    tokens = recorded.pair.tokens
    if not cross:
        return np.zeros((len(recorded.steps), len(recorded.tokens()["text"]))), {}
    found, shares = [], {}
    for number, layer in cross:
        values = recorded.activation(f"{layer.field}_activation")
        if layer.joint:
            shares[layer_id(number)] = listed(values.sum(-1))
        if layer.shape[0] == tokens:
            found.append((values, layer.joint))
    return token_means(found), shares


def _entropies(recorded: Recorded, layers: list[tuple[int, Layer]]) -> list[dict[str, Any]]:
    """Of each step, the mean over layers and each layer's; null where there is none."""
    values = {layer_id(number): recorded.activation(f"{layer.field}_entropy") for number, layer in layers}
    mean = trace.mean_of(list(values.values())) if layers else np.full(len(recorded.steps), np.nan)
    return [
        {
            "step": step,
            "mean": finite(float(mean[step])),
            "by_layer": {name: finite(float(each[step])) for name, each in values.items()},
        }
        for step in range(len(recorded.steps))
    ]


def _dominance(activation: Array) -> dict[str, Any]:
    found = trace.Dominance.of(activation)
    ranking = [{"token_index": token, "score": score} for token, score in found.ranking]
    return {"scores": listed(found.scores), "ranking": ranking}


def _plane(plane: trace.Plane) -> dict[str, Any]:
    return {"points": listed(plane.points), "explained_variance_ratio": listed(np.clip(plane.ratio, 0.0, 1.0))}


def layer_id(number: int) -> str:
    """What a dataset calls its layers, in order."""
    return f"layer_{number}"


def json_bytes(data: Any) -> bytes:
    """JSON as datasets have it: keys in order, and no token that JSON does not know."""
    return (json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
