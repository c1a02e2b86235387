"""`InferenceConfig` in a file, for ``emnist-diff run --config``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff import config
from emnist_diff.plugins import Registry
from emnist_diff_plugins.documents import table

_NESTED = ("capture", "video", "force", "drift", "env")
_OF_INFERENCE = ("checkpoint_path", "checkpoint_epoch", "size_name", "split", "experiment_name", "eta")


@attrs.frozen
class InferenceForm:
    """An `InferenceConfig` as `to_dict` writes it, as settings of a run."""

    def layer(self, path: Path, registry: Any, checkpoint: str | None) -> Mapping[str, Any] | None:
        """The settings that it means, of a file with a table or a setting that only an `InferenceConfig` has.

        Raises `ConfigError` for what does not hold.
        """
        data = table(path) or {}
        nested = any(isinstance(data.get(key), Mapping) for key in _NESTED)
        known = nested or any(key.replace("-", "_") in _OF_INFERENCE for key in data)
        return _of_inference(data, registry, checkpoint) if known else None


def _of_inference(data: Mapping[str, Any], registry: Registry, checkpoint_file: str | None) -> dict[str, Any]:
    from emnist_diff_inference import config as api  # which need torch, by way of the plugins
    from emnist_diff_inference import mapping
    from emnist_diff_inference.checkpoints import headed
    from emnist_diff_inference.limits import refuse_later

    requested = api.InferenceConfig.from_dict({key.replace("-", "_"): value for key, value in data.items()})
    refuse_later(requested)
    named: dict[str, Any] = (
        mapping.taken(requested, mapping.CHECKPOINT) if checkpoint_file is None else {"checkpoint": checkpoint_file}
    )
    header = None
    if requested.eta is not None and requested.scheduler is None:  # which decides whose eta it is
        config.RunConfig(**named)  # for what it refuses
        _, header = headed(named["checkpoint"], named.get("epoch"))
    layer = mapping.layer(requested, header, registry)
    usual = mapping.taken(api.InferenceConfig(), mapping.SETTINGS)
    for key, place in mapping.SETTINGS.items():  # defaults are no word against what is known of the machine
        if place.startswith("env.") and layer.get(key) == usual[key]:
            layer.pop(key, None)
    if requested.env.slurm_world > 1:
        layer |= mapping.taken(requested, mapping.WORKER)
    return layer | {key: value for key, value in named.items() if value is not None}
