"""The model that made a recorded file, again from the file's configuration and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from emnist_diff.assembly.sources import found, opened
from emnist_diff.config import MOST_THREADS, RunConfig
from emnist_diff.errors import CheckpointError, ConfigError, TrajectoryError
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins import runconfig
from emnist_diff_plugins.decoding import decoded
from emnist_diff_plugins.layers import opens_paths
from emnist_diff_plugins.recorded import checkpoint_of, facts, guides_of
from emnist_diff_plugins.reviews.files import recorded_files
from emnist_diff_plugins.reviews.origins import require_known
from emnist_diff_plugins.reviews.records import require_recorded_guides
from emnist_diff_trajectory.contract import EarlierRun
from emnist_diff_trajectory.growth import require_recorded as require_recorded_files
from emnist_diff_trajectory.pictures import Decode
from emnist_diff_trajectory.reader import Trajectory


def settings_of(
    trajectory: Trajectory, registry: Registry, file: str | None = None, guides: Mapping[str, str] | None = None
) -> RunConfig:
    """The configuration that made a file, ready to be assembled, without sinks.

    file: the checkpoint; when left out, one with the recorded hash is looked for (`checkpoint_search.find`).
    guides: name → file; those that are recorded and left out are looked for too. Without any mapping, the configuration
    has none either, and cannot be assembled if a condition names one.
    Raises `CheckpointError` when checkpoint or guides are others than the recorded ones, `TrajectoryError` when the
    file's configuration is none, `UnknownName` for a component that is not installed, with the distribution that it
    came from.
    """
    data: dict[str, Any] = dict(trajectory.config)
    if recorder := data.get("recorder"):
        raise TrajectoryError(
            f"{trajectory.path} is a recording of {facts(data.get('denoiser')).get('name')!s:.80} by {recorder!s:.80}, "
            "and no run that can be made again — have the Recorder write what is missing, by its sinks"
        )
    sha256 = data.pop("checkpoint_sha256", None)
    recorded_guides = data.pop("guide_sha256", None)
    data.pop("files", None)  # which are compared once the components that name them are made
    run = EarlierRun(trajectory.path, trajectory.config, trajectory.environment)
    if guides is not None:
        guides = {**guides_of(registry, run, guides), **guides}
        require_recorded_guides(registry, guides, recorded_guides, str(trajectory.path))
        data["guides"] = guides
    if sha256 is None and file is not None:
        raise CheckpointError(f"{trajectory.path} was made without a checkpoint — leave --checkpoint out")
    if sha256 is not None:
        data["checkpoint"] = checkpoint_of(registry, run) if file is None else _same(run, registry, file)
        if not opens_paths(registry, data.get("denoiser")):
            data.pop("denoiser", None)  # which the record copied from the checkpoint
    threads = trajectory.environment.get("threads")
    if isinstance(threads, int) and 1 <= threads <= MOST_THREADS:
        data["threads"] = threads
    data["sinks"] = []
    data["device"] = _device(trajectory)
    try:
        settings = runconfig.resolve(data)
    except ConfigError as error:
        raise TrajectoryError(f"{trajectory.path} cannot be made again: {error}") from error
    require_known(registry, settings, trajectory)
    return settings


def _same(run: EarlierRun, registry: Registry, file: str) -> str:
    """The file, which must be the recorded checkpoint. Raises `CheckpointError` where it has not its hash."""
    sha256, source = str(run.config["checkpoint_sha256"]), opened(registry, file).source
    if source.identity != sha256:
        recorded = facts(run.environment.get("checkpoint")).get("file")
        raise CheckpointError(
            f"{run.path} was made with the checkpoint {str(recorded)!r:.80} of sha256 {sha256:.12}…, and "
            f"{source.label} is another"
        )
    return file


def _device(trajectory: Trajectory) -> str:
    """The recorded device where there is one here, else the CPU."""
    recorded = str(trajectory.environment.get("device"))
    return recorded if recorded.startswith("cuda") and torch.cuda.is_available() else "cpu"


def model(trajectory: Trajectory, registry: Registry, file: str | None = None) -> tuple[RunConfig, Denoiser]:
    """The configuration that made a file, and its network, ready to be asked. Raises as `settings_of`, and
    `TrajectoryError` where the network is made of other files than the recorded ones."""
    settings = settings_of(trajectory, registry, file)
    network = found(registry, settings)
    files = trajectory.config.get("files")
    known = {
        place: recorded
        for place, recorded in (files if isinstance(files, dict) else {}).items()
        if place.startswith("denoiser.")
    }
    require_recorded_files(
        trajectory.path, {"files": known}, {"files": recorded_files({"denoiser": network.component})}
    )
    return settings, network.load(settings.device)


def decoder(trajectory: Trajectory, registry: Registry, file: str | None = None) -> Decode:
    """The codec of the model that made a file, from its own configuration; raises as `model`, and `TrajectoryError`
    where the file's states are not the model's."""
    settings, denoiser = model(trajectory, registry, file)
    if (shape := trajectory.x.shape[2:]) != tuple(denoiser.shape):
        raise TrajectoryError(
            f"{trajectory.path} holds states of shape {shape}, and those of its model are {tuple(denoiser.shape)}"
        )

    def decode(states: Any) -> Any:
        return decoded(denoiser, torch.from_numpy(states).to(settings.device)).cpu().numpy()

    return decode
