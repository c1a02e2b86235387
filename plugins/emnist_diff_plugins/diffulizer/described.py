"""metadata.json: how a sample came about, and where the parts of its dataset stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emnist_diff_plugins.diffulizer import LATENTS, METRICS, PLANE, SCHEMA_VERSION, VALIDATION
from emnist_diff_plugins.diffulizer.numbers import layer_id
from emnist_diff_plugins.diffulizer.recorded import KINDS, Layer, Recorded
from emnist_diff_trajectory.attention import ATTENTION, AttentionRequest


def image_name(step: int) -> str:
    """The path of a step's picture."""
    return f"images/step_{step:03d}.png"


def map_name(number: int, layer: Layer, step: int) -> str:
    """The path of a layer's maps at a step of the dataset."""
    return f"{ATTENTION}/{layer.kind}/{layer_id(number)}_step_{step:03d}.bin"


def metadata(recorded: Recorded, latents: bool) -> dict[str, Any]:
    """The whole file.  latents: whether states and predicted noise stand beside it."""
    file, count = recorded.pair.states, len(recorded.steps)
    tokens = recorded.tokens()
    times = [float(file.timestep[step]) for step in recorded.steps]
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": _generator(recorded),
        "prompt": {
            "text": recorded.character,
            "negative": str(_denoiser(recorded).get("negative_prompt") or ""),
            "tokens": tokens["text"],
            "token_ids": tokens["id"],
            "meaningful_token_count": len(tokens["special"]) - sum(map(bool, tokens["special"])),
            "special": tokens["special"],
            "words": tokens["word"],
        },
        "steps": count,
        "timesteps": [round(time) for time in times],
        "exact_timesteps": times,
        "images": [image_name(step) for step in range(count)],
        "layers": [_layer(number, layer) for number, layer in enumerate(recorded.pair.layers)],
        "attention_files": [
            {
                "step": step,
                "layer_id": layer_id(number),
                "attention_type": layer.kind,
                "path": map_name(number, layer, step),
                "shape": list(layer.shape),
                "dtype": "float16",
            }
            for step, own in enumerate(recorded.steps)
            if recorded.evaluated(own)
            for number, layer in enumerate(recorded.pair.layers)
        ],
        "artifacts": {
            "metrics": METRICS,
            "latent_pca": PLANE,
            "validation": VALIDATION,
            "latents_noise": LATENTS if latents else None,
        },
    }


def _layer(number: int, layer: Layer) -> dict[str, Any]:
    return {
        "id": layer_id(number),
        "processor_key": f"{layer.name}.processor",
        "attention_type": layer.kind,
        "joint": layer.joint,
        "sums_to_one": not layer.joint,
        **layer.facts,
    }


def _generator(recorded: Recorded) -> dict[str, Any]:
    """Document 002's facts, and those by which the file of the run is found again."""
    pair, file = recorded.pair, recorded.pair.states
    height, width = file.images.shape[1:3]
    checkpoint = _table(file.environment.get("checkpoint"))
    denoiser = _table(file.config.get("denoiser"))
    request = _request(pair.facts)
    kinds = {layer.kind for layer in pair.layers}
    guidance = file.config.get("guidance_scale")
    return {
        "model_id": str(checkpoint.get("file") or denoiser.get("name") or ""),
        "pipeline_type": str(denoiser.get("name") or ""),
        "seed": int(file.seeds[recorded.position]),
        "cfg_scale": guidance if isinstance(guidance, int | float) and file.config.get("base") == "cfg" else None,
        "num_steps": file.steps,
        "height": int(height),
        "width": int(width),
        "layers": list(request.layers) or ["*"],
        "max_layers": 0,
        **{f"include_{kind}_attention": kind in kinds for kind in KINDS},
        "attention_resolution": request.resolution,
        "self_attention_resolution": request.self_resolution,
        "dtype": str(file.environment.get("dtype") or "float32"),
        "device": str(file.environment.get("device") or ""),
        "library": f"emnist-diff {file.environment.get('emnist_diff', '')}".strip(),
        "sample": recorded.sample,
        "condition": pair.condition,
        "config_sha256": file.config_hash,
        "recorded_steps": list(recorded.steps),
        "forward_process": file.forward_process,
        "stored_dtype": str(file.x.dtype),
    }


def _request(facts: Mapping[str, Any]) -> AttentionRequest:
    """What attention was requested; the usual where the file does not say."""
    requests = facts.get("requests")
    for request in requests if isinstance(requests, list) else []:
        if isinstance(request, str) and request.partition(":")[0] == ATTENTION:
            return AttentionRequest.parse(request)
    return AttentionRequest()


def _denoiser(recorded: Recorded) -> Mapping[str, Any]:
    """The settings of the network."""
    return _table(_table(recorded.pair.states.config.get("denoiser")).get("settings"))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
