"""Whether the files of numbers of a dataset agree with metadata.json, and it with itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from emnist_diff.shown import shown
from emnist_diff_plugins.diffulizer import METADATA, METRICS, PLANE
from emnist_diff_plugins.diffulizer.assets import TOLERANCE
from emnist_diff_plugins.diffulizer.documents import schema
from emnist_diff_plugins.diffulizer.report import Report

Table = Mapping[str, Any]


def check_metadata(data: Table, report: Report) -> None:
    """Lengths, ids and paths.  data: as the schema has it."""
    steps, layers = data["steps"], {layer["id"]: layer for layer in data["layers"]}
    for key in ("timesteps", "images", *(["exact_timesteps"] if "exact_timesteps" in data else [])):
        _require_length(METADATA, key, data[key], steps, report)
    prompt, tokens = data["prompt"], len(data["prompt"]["tokens"])
    for key in ("token_ids", "special", "words"):
        if len(prompt.get(key, prompt["tokens"])) != tokens:
            report.error(METADATA, f"prompt.{key} has {len(prompt[key])} entries, and there are {tokens} tokens")
    if prompt.get("meaningful_token_count", 0) > tokens:
        report.error(METADATA, f"prompt.meaningful_token_count is more than its {tokens} tokens")
    if len(layers) < len(data["layers"]):
        report.error(METADATA, "layers holds an id twice")
    for key, paths in (("images", data["images"]), ("attention_files", [e["path"] for e in data["attention_files"]])):
        if len(set(paths)) < len(paths):
            report.error(METADATA, f"{key} names a file twice")
    _check_entries(data, layers, report)


def _check_entries(data: Table, layers: Mapping[str, Table], report: Report) -> None:
    steps, tokens, seen = data["steps"], len(data["prompt"]["tokens"]), set()
    for place, entry in enumerate(data["attention_files"]):
        where = f"attention_files[{place}]"
        layer = layers.get(entry["layer_id"])
        if layer is None:
            report.error(METADATA, f"{where}.layer_id is {shown(entry['layer_id'])}, which layers does not hold")
        elif layer["attention_type"] != entry["attention_type"]:
            report.error(METADATA, f"{where} is of {entry['attention_type']} attention, and its layer has another")
        if entry["step"] >= steps:
            report.error(METADATA, f"{where}.step is {shown(entry['step'])}, and there are {steps} steps")
        if not entry["path"].startswith(f"attention/{entry['attention_type']}/"):
            report.error(METADATA, f"{where}.path is {shown(entry['path'])}, the folder of another kind")
        if entry["attention_type"] == "cross" and len(entry["shape"]) == 3 and entry["shape"][0] != tokens:
            report.error(METADATA, f"{where} has maps of {shown(entry['shape'][0])} tokens, and there are {tokens}")
        if (key := (entry["step"], entry["layer_id"])) in seen:
            report.error(METADATA, f"{where}: step {shown(key[0])} of {shown(key[1])} is listed twice")
        seen.add(key)
    if layers and (lacking := steps * len(layers) - len(seen)) > 0:
        report.warn(METADATA, f"attention_files leaves out {lacking} of {steps * len(layers)} maps")


def _require_length(where: str, key: str, values: Sequence[Any], steps: int, report: Report) -> bool:
    if len(values) != steps:
        report.error(where, f"{key} has {len(values)} entries, and there are {steps} steps")
    return len(values) == steps


def check_metrics(data: Table, metadata: Table, report: Report) -> None:
    """Lengths, steps, layers, tokens and sums.  data: as the schema has it."""
    steps, tokens = metadata["steps"], len(metadata["prompt"]["tokens"])
    for key in schema()["$defs"]["metrics"]["properties"]:
        if isinstance(values := data.get(key), list):
            _require_length(METRICS, key, values, steps, report)
    kinds = {layer["id"]: layer["attention_type"] for layer in metadata["layers"]}
    for kind in ("cross", "self"):
        key, own = f"{kind}_attention_entropy", {name for name, each in kinds.items() if each == kind}
        for place, entry in enumerate(data[key]):
            _check_entropy(f"{key}[{place}]", entry, place, own, report)
    most = math.log(max(1, tokens)) + TOLERANCE * 8
    if (high := max((each["mean"] or 0.0 for each in data["cross_attention_entropy"]), default=0.0)) > most:
        report.error(METRICS, f"cross_attention_entropy reaches {shown(high)}, and {tokens} tokens allow {most:.4f}")
    has_cross = "cross" in kinds.values()
    for place, row in enumerate(data["mean_token_activation"]):
        _check_activation(f"mean_token_activation[{place}]", row, tokens if has_cross else None, report)
    for key in ("token_dominance", "masked_token_dominance"):
        if key in data:
            _check_dominance(key, data[key], tokens if has_cross else None, report)


def _check_entropy(where: str, entry: Table, step: int, layers: set[str], report: Report) -> None:
    if entry["step"] != step:
        report.error(METRICS, f"{where}.step is {shown(entry['step'])}, not {step}")
    if strange := sorted(set(entry["by_layer"]) - layers):
        report.error(METRICS, f"{where}.by_layer has {shown(strange[0])}, which is no layer of this kind")


def _check_activation(where: str, row: Sequence[float | None], tokens: int | None, report: Report) -> None:
    if tokens is not None and len(row) != tokens:
        report.error(METRICS, f"{where} has {len(row)} entries, and there are {tokens} tokens")
    values = [value for value in row if value is not None]
    total = math.fsum(values)
    if len(values) == len(row) and any(values) and abs(total - 1) > TOLERANCE:
        report.error(METRICS, f"{where} sums to {total:.5f}, not to 1")


def _check_dominance(key: str, found: Table, tokens: int | None, report: Report) -> None:
    scores, ranking = found["scores"], found["ranking"]
    if tokens is not None and len(scores) != tokens:
        report.error(METRICS, f"{key}.scores has {len(scores)} entries, and there are {tokens} tokens")
    if strange := [each["token_index"] for each in ranking if each["token_index"] >= len(scores)]:
        report.error(METRICS, f"{key}.ranking has token {shown(strange[0])}, and there are {len(scores)}")
    ranked = [each["score"] for each in ranking]
    if ranked != sorted(ranked, reverse=True):
        report.error(METRICS, f"{key}.ranking does not descend")


def check_plane(data: Table, metadata: Table, report: Report) -> None:
    """As many points as steps, and axes that share what there is.  data: as the schema has it."""
    for name, plane in (("", data), ("scaled.", data.get("scaled"))):
        if plane is None:
            continue
        _require_length(PLANE, f"{name}points", plane["points"], metadata["steps"], report)
        if sum(plane["explained_variance_ratio"]) > 1 + 1e-6:
            report.error(PLANE, f"{name}explained_variance_ratio sums to more than 1")
