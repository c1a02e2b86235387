"""The bench of presets, and the rules for them: what they stand for is a configuration that can be run."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import attrs

from emnist_diff.config import RunConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import EmnistDiffError
from emnist_diff.structuring import unstructure
from emnist_diff_plugins import runconfig
from emnist_diff_plugins.forecast import preview
from emnist_diff_testing import toml
from emnist_diff_testing.rules import rule
from emnist_diff_testing.subjects import Subject, subject

_MODEL = {"denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "components": 1}, "total_videos": 2, "steps": 4}
"""What a preset is laid over, so far as it does not say otherwise: a model that knows digits and letters."""
_NOT_ITS_BUSINESS = ("output", "device", "threads", "rank", "world_size", "batch_size", "micro_batch", "preset")


@attrs.define(eq=False, slots=False)
class PresetBench:
    """A preset, and what it expands to."""

    subject: Subject

    @property
    def name(self) -> str:
        return self.subject.name

    @cached_property
    def expanded(self) -> Any:
        return self.subject.make().expand()

    @cached_property
    def settings(self) -> RunConfig:
        """The configuration that it stands for. Raises as `runconfig.resolve`."""
        return runconfig.resolve(_MODEL, self.expanded)


def bench(component: Any, name: str = "") -> PresetBench:
    """The bench of a preset, a class or an object. Raises as `subject`."""
    return PresetBench(subject("preset", component, name))


@rule(
    "preset",
    "expand() gives a table of settings of a run",
    "it is laid under what the user says, key by key",
)
def expands(bench: PresetBench) -> Iterator[str]:
    if not isinstance(bench.expanded, Mapping):
        yield f"it gave {type(bench.expanded).__name__}"
        return
    try:
        assert bench.settings
    except EmnistDiffError as error:
        yield str(error)
    for key in runconfig.normalised(bench.expanded):
        if key in _NOT_ITS_BUSINESS:
            yield f"it says {key}, which is for the machine or the caller to say"


@rule(
    "preset",
    "expand() is pure: the same table every time, and its own",
    "it is asked once for the plan and again for the record; a table that is changed must not be the preset's",
)
def pure(bench: PresetBench) -> Iterator[str]:
    preset = bench.subject.make()
    settings = copy.deepcopy(unstructure(preset)) if attrs.has(bench.subject.factory) else None
    before = copy.deepcopy(preset.expand())
    given = preset.expand()
    if given != before:
        yield "the second table is another one"
    for value in given.values() if isinstance(given, dict) else ():
        if isinstance(value, list):
            value.clear()  # what a caller may do to what is his
    if preset.expand() != before:
        yield "a list of the first table, changed by the caller, is in the next one"
    if settings is not None and unstructure(preset) != settings:
        yield "expanding it changed its own settings"


@rule(
    "preset",
    "every component that it names exists, takes these settings, and fits a model of digits and letters",
    "a preset that breaks breaks for people who have not read it",
)
def resolves(bench: PresetBench) -> Iterator[str]:
    try:
        preview(installed(), bench.settings)
    except EmnistDiffError as error:
        yield str(error)


@rule(
    "preset",
    "what it stands for can be written as TOML and JSON, and read back",
    "the configuration is recorded with the run, and people write presets out to change them",
)
def round_trip(bench: PresetBench) -> Iterator[str]:
    before = json.loads(json.dumps(runconfig.to_dict(bench.settings)))
    for what, carry in (("JSON", _json), ("TOML", toml.carried)):
        try:
            after = json.loads(json.dumps(runconfig.to_dict(runconfig.resolve(carry(before)))))
        except (EmnistDiffError, ValueError) as error:
            yield f"{what}: {error}"
            continue
        if odd := [key for key in before if before[key] != after.get(key)]:
            yield f"{what}: {odd[0]} = {before[odd[0]]!r} came back as {after.get(odd[0])!r}"


def _json(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))
