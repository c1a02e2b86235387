"""Configurations in files, in each of the forms that this package writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emnist_diff import checkpoint, config
from emnist_diff.paths import StrPath
from emnist_diff.plugins import Registry, installed

_NESTED = ("capture", "video", "force", "drift", "env")
_OF_INFERENCE = ("checkpoint_path", "checkpoint_epoch", "size_name", "split", "experiment_name", "eta")
_OF_THE_MACHINE = ("batch_size", "micro_batch", "backend", "precision", "device")


def read_layer(path: StrPath, registry: Registry | None = None, checkpoint_file: str | None = None) -> dict[str, Any]:
    """What a file says of a run, as a layer for `assembly.configure` or `config.resolve`: the file is a table of
    settings, an `InferenceConfig` as `to_dict` writes it, or the ``metadata.json`` of a run.

    registry: the installed plugins when left out.  checkpoint_file: the checkpoint that stands above the file's.

    Raises `ConfigError` as `config.read_file`, and for what does not hold in an `InferenceConfig`.
    """
    data = config.read_file(path)
    if isinstance(data.get("config"), Mapping) and "config_sha256" in data:
        return dict(data["config"])
    nested = any(isinstance(data.get(key), Mapping) for key in _NESTED)
    if nested or any(key.replace("-", "_") in _OF_INFERENCE for key in data):
        return _of_inference(data, registry or installed(), checkpoint_file)
    return data


def _of_inference(data: Mapping[str, Any], registry: Registry, checkpoint_file: str | None) -> dict[str, Any]:
    from emnist_diff.api import config as api  # which need torch, by way of the plugins
    from emnist_diff.api import mapping
    from emnist_diff.assembly import checkpoint_path

    said = api.InferenceConfig.from_dict({key.replace("-", "_"): value for key, value in data.items()})
    api.refuse_later(said)
    named: dict[str, Any] = {"checkpoint": said.checkpoint, "epoch": said.checkpoint_epoch}
    if checkpoint_file is not None:
        named = {"checkpoint": checkpoint_file}
    header = None
    if said.eta is not None and said.scheduler is None:  # which decides whose eta it is
        header = checkpoint.read_header(checkpoint_path(registry, config.RunConfig(**named)))
    layer = mapping.layer(said, header, registry)
    for key in _OF_THE_MACHINE:  # whose defaults are no word against what is known of the machine
        if getattr(said.env, key) == getattr(api.EnvironmentConfig(), key):
            del layer[key]
    if said.env.slurm_world > 1:
        layer |= {"rank": said.env.slurm_rank, "world_size": said.env.slurm_world}
    return layer | {key: value for key, value in named.items() if value is not None}
