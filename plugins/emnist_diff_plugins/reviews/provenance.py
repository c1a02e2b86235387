"""What a file says of where it was made: enough to make it again, nothing secret."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.assembly.assemble import Parts
from emnist_diff.components import Component
from emnist_diff.engine.state import Engine
from emnist_diff.evaluators import Prepared
from emnist_diff.surroundings import Review
from emnist_diff_plugins.machine import workers
from emnist_diff_plugins.machine.surroundings import surroundings


@attrs.frozen
class Provenance(Review):
    """Records versions, device, threads, the distributions of the components, SLURM's job and task.

    No other variable of the environment, no user or host name, and no directory.
    """

    def environment(
        self, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
    ) -> Mapping[str, Any]:
        """`Review.environment`."""
        guides = {name: network for name, network in parts.networks.items() if name}
        used = [*parts.components.values(), *sinks, backend.component]
        data: dict[str, Any] = {
            **surroundings(engine.device),
            "threads": parts.layout.settings.threads,
            "precision": backend.precision,
            "micro_batch": engine.micro_batch,
            "checkpoint": dict(parts.networks[""].source.facts),
            "plugins": {name: _plugin(name, used) for name in {each.distribution: "" for each in used}},
            "backend": backend.component.name,
            **{module: _version(module) for module in backend.requires},
        }
        if guides:
            data["guides"] = {name: dict(guide.source.facts) for name, guide in guides.items()}
        if slurm := workers.recorded(os.environ):
            data["slurm"] = slurm
        return data


def _version(module: str) -> str | None:
    """The version of the distribution that brings a module."""
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return None


def _plugin(distribution: str, components: Sequence[Component]) -> dict[str, Any]:
    """What is recorded of a distribution, some of whose components take part."""
    of_it = [each for each in components if each.distribution == distribution]
    return {
        "version": of_it[-1].version,
        "sha256": distribution_sha256(distribution),
        "components": sorted({each.name for each in of_it}),
    }


def distribution_sha256(name: str) -> str | None:
    """SHA-256 of an installed distribution's list of files and their hashes (``RECORD``), or of a plugin file.

    None where neither says what the code is: for a distribution installed as editable, or without ``RECORD``.
    """
    module = sys.modules.get(name.removesuffix(".py")) if name.endswith(".py") else None
    try:
        if module is not None and module.__file__:
            return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()
        distribution = metadata.distribution(name)
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        listed = distribution.read_text("RECORD")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return None
    if not listed or origin.get("dir_info", {}).get("editable"):
        return None
    return hashlib.sha256("\n".join(sorted(listed.splitlines())).encode()).hexdigest()
