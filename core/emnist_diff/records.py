"""What a plugin hands over: frozen records that name a component and say where it lives.

A record holds no code. Its `factory` is a ``"package.module:Class"`` string that is imported when the
component is first used, so that listing plugins never imports torch.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
from attrs import validators as v

API = 1
"""The version of the contract between this core and a plugin. Records that ask for a newer one are refused."""

_NAME = v.matches_re(r"[a-z0-9][a-z0-9_.-]*")
_FACTORY = v.matches_re(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@attrs.frozen(kw_only=True)
class Spec:
    """What every record says.

    name: how the component is asked for, in lower case; unique within its kind and distribution.
    factory: ``"package.module:Class"``, an attrs class whose fields are the component's configuration.
    summary: one line for ``emnist-diff plugins list``.
    aliases: other names that resolve to this one (spellings of older documents).
    api: the contract version the plugin was written for.
    """

    kind: ClassVar[str] = "component"

    name: str = attrs.field(validator=_NAME)
    factory: str = attrs.field(validator=_FACTORY)
    summary: str = attrs.field(validator=v.min_len(1))
    aliases: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    api: int = attrs.field(default=API, validator=v.instance_of(int))


@attrs.frozen(kw_only=True)
class ForceSpec(Spec):
    """A force: adds a term to the prediction. The factory makes a `protocols.Force`."""

    kind: ClassVar[str] = "force"


@attrs.frozen(kw_only=True)
class DriftSpec(Spec):
    """A drift: maps the state to a new state after each step. The factory makes a `protocols.Drift`."""

    kind: ClassVar[str] = "drift"


@attrs.frozen(kw_only=True)
class SchedulerSpec(Spec):
    """A scheduler: moves the state. The factory makes a `protocols.Scheduler` once bound to a forward process.

    For ``emnist-diff schedulers``: order of accuracy; when it draws noise (``no``, ``yes``, ``eta > 0``); looks at the
    network a step; the process that it walks; the predictions that it takes there.
    """

    kind: ClassVar[str] = "scheduler"
    order: str = "?"
    noise: str = "?"
    evaluations: str = "1"
    process: str = "diffusion"
    predictions: tuple[str, ...] = attrs.field(default=("epsilon", "v_prediction", "sample"), converter=tuple)


@attrs.frozen(kw_only=True)
class SinkSpec(Spec):
    """A sink: records frames. `default` sinks run when a configuration names none.

    flag: ``video`` lets ``emnist-diff run --save-video`` add the sink and ``--no-video`` leave it out.
    """

    kind: ClassVar[str] = "sink"
    default: bool = False
    flag: str = attrs.field(default="", validator=v.matches_re(r"([a-z0-9][a-z0-9-]*)?"))


@attrs.frozen(kw_only=True)
class DenoiserSpec(Spec):
    """A family of networks. The factory makes a `protocols.DenoiserFamily`.

    needs_weights: whether the family can only run with weights from a checkpoint.
    shipped: ``"package:path/within.safetensors"``, a checkpoint that comes with the package and is used when a
    configuration names none.
    """

    kind: ClassVar[str] = "denoiser"
    needs_weights: bool = True
    shipped: str = ""


@attrs.frozen(kw_only=True)
class PresetSpec(Spec):
    """A preset: a named piece of configuration. The factory makes a `protocols.Preset`."""

    kind: ClassVar[str] = "preset"


@attrs.frozen(kw_only=True)
class DatasetSpec(Spec):
    """A dataset reader. The factory makes a `protocols.Dataset`."""

    kind: ClassVar[str] = "dataset"


@attrs.frozen(kw_only=True)
class CommandSpec(Spec):
    """A subcommand of ``emnist-diff``. The factory is a Typer app, mounted under `name`."""

    kind: ClassVar[str] = "command"


@attrs.frozen(kw_only=True)
class PlotSpec(Spec):
    """A picture of something.

    of: what it is of. ``run``: a run about to start; the factory makes a `protocols.Plot`, and the core asks the one
    called ``schedules``. ``trajectories``: recorded runs; the factory makes what ``emnist-diff plot`` draws.
    """

    kind: ClassVar[str] = "plot"
    of: str = attrs.field(default="run", validator=v.in_(("run", "trajectories")))
