"""Checking a folder that is to be document 002's dataset, whatever is in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from emnist_diff.shown import shown
from emnist_diff_plugins.capacity import size
from emnist_diff_plugins.diffulizer import LATENTS, METADATA, METRICS, PLANE, VALIDATION
from emnist_diff_plugins.diffulizer.assets import check_arrays, check_maps, check_picture, listed
from emnist_diff_plugins.diffulizer.consistent import check_metadata, check_metrics, check_plane
from emnist_diff_plugins.diffulizer.documents import read_json, violations
from emnist_diff_plugins.diffulizer.report import Finding, Report

USUAL_SIZE = 200 << 20
"""Bytes that a dataset should not pass."""

_MOST_OF_A_FILE = 20
"""Violations of the schema that are reported of a file."""

_OWN_FOLDERS = ("images/", "attention/")


def check(folder: Path, most: int | None = None) -> Report:
    """Everything that is wrong with a dataset; never an exception for what is in it.

    most: bytes that it may have; without it, more than `USUAL_SIZE` is a warning.
    """
    report = Report()
    if not folder.is_dir():
        report.error("", f"{shown(str(folder))} is no folder")
        return report
    held = listed(folder, report)
    report.size = sum(held.values())
    found = {name: _document(folder, name, held, report) for name in (METADATA, METRICS, PLANE, VALIDATION)}
    metadata = found[METADATA]
    if metadata is not None:
        check_metadata(metadata, report)
        if found[METRICS] is not None:
            check_metrics(found[METRICS], metadata, report)
        if found[PLANE] is not None:
            check_plane(found[PLANE], metadata, report)
        _check_assets(folder, metadata, held, report)
    if report.size > (USUAL_SIZE if most is None else most):
        note = report.warn if most is None else report.error
        note("", f"the dataset has {size(report.size)}, more than {size(USUAL_SIZE if most is None else most)}")
    return report


def _document(folder: Path, name: str, held: dict[str, int], report: Report) -> Any:
    """The data in a file of JSON; None where it is not there, cannot be read or is not as the schema has it."""
    if name not in held:
        (report.warn if name == VALIDATION else report.error)(name, "is missing")
        return None
    try:
        data = read_json(folder / name)
    except ValueError as error:
        report.error(name, str(error))
        return None
    wrong = list(islice(violations(data, name.removesuffix(".json")), _MOST_OF_A_FILE))
    for where, what in wrong:
        report.error(name, f"{where} {what}".strip())
    return None if wrong else data


def _check_assets(folder: Path, metadata: Any, held: dict[str, int], report: Report) -> None:
    generator, layers = metadata["generator"], {layer["id"]: layer for layer in metadata["layers"]}
    expected = {METADATA, METRICS, PLANE, VALIDATION, LATENTS}
    for path in metadata["images"]:
        expected.add(path)
        if _stands(path, held, report):
            check_picture(folder, path, (generator["width"], generator["height"]), report)
    for entry in metadata["attention_files"]:
        path = entry["path"]
        expected.add(path)
        if _stands(path, held, report):
            layer = layers.get(entry["layer_id"], {})
            usual = True if entry["attention_type"] == "cross" and len(entry["shape"]) == 3 else None
            check_maps(folder, entry, held[path], layer.get("sums_to_one", usual), report)
    if LATENTS in held:
        check_arrays(folder / LATENTS, metadata["steps"], report)
    elif metadata.get("artifacts", {}).get("latents_noise") is not None:
        report.error(LATENTS, "is missing, and metadata.json lists it")
    for path in sorted(held.keys() - expected):
        where = path if path.isprintable() else shown(path)
        (report.error if path.startswith(_OWN_FOLDERS) else report.warn)(where, "is no file of this dataset")


def _stands(path: str, held: dict[str, int], report: Report) -> bool:
    """Whether a path that metadata.json names is a file of the folder."""
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in path or ":" in path or not path.isprintable():
        report.error(METADATA, f"names {shown(path)}, which does not stay inside the folder")
    elif path not in held:
        report.error(path, "is missing")
    return path in held


def validation(errors: Sequence[Finding], maps: int) -> dict[str, Any]:
    """What validation.json says of a dataset with these errors.  maps: files of attention that were checked."""

    def free(name: str) -> bool:
        return not any(finding.where == name for finding in errors)

    assets = [finding.line for finding in errors if finding.where.startswith("attention/")]
    missing = [finding.what for finding in errors if finding.where == METADATA]
    return {
        "metadata_has_required_keys": not any(what.startswith(("has no ", "is ", "cannot ")) for what in missing),
        "pca_points_match_steps": free(PLANE),
        "metrics_steps_match": free(METRICS),
        "attention_assets": {"checked_files": maps, "passed": not assets, "errors": assets},
    }
