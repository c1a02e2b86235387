"""What a checkpoint recommends, held against its own forward process before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emnist_diff.assembly.layout import bound_scheduler
from emnist_diff.components import call_component, make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.records import SchedulerSpec
from emnist_diff.structuring import structure
from emnist_diff_plugins.runconfig import normalised

if TYPE_CHECKING:
    from emnist_diff_plugins.containers.checkpoint import CheckpointHeader


def require_walkable(header: CheckpointHeader) -> None:
    """Raise `ConfigError` where the scheduler that a checkpoint recommends cannot walk the forward process that it was
    trained on, with its prediction and in the recommended number of steps."""
    recommended = normalised(header.recommended)
    if recommended.get("scheduler") is None:
        return
    try:
        component = make(installed(), SchedulerSpec, structure(recommended["scheduler"], ComponentConfig, "scheduler"))
        scheduler = bound_scheduler(component, header.schedule, header.prediction)
        if isinstance(steps := recommended.get("steps"), int):
            call_component(component.label("scheduler"), scheduler.plan, steps)
    except ConfigError as error:
        raise ConfigError(f"the recommended settings do not fit this model: {error}") from error
