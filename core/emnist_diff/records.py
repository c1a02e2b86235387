"""What a plugin hands over: frozen records that name a component and say where it lives.

A record holds no code. Its `factory` is a ``"package.module:Class"`` string that is imported when the
component is first used, so that listing plugins never imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import ClassVar

import attrs
from attrs import validators as v

from emnist_diff.shown import shown

API = 1
"""The version of the contract between this core and a plugin. Records that ask for a newer one are refused."""

_NAME = v.matches_re(r"[a-z0-9][a-z0-9_.-]{0,99}")
_FACTORY = v.matches_re(r"[A-Za-z_][\w.]{0,299}:[A-Za-z_][\w.]{0,299}")
_LONGEST = 1000
_MOST_NAMES = 100


def one_line(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    """Text that a listing can print on a line."""
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name!r} must be text, got {shown(value)}")
    if not value.isprintable() or len(value) > _LONGEST:
        raise ValueError(f"{attribute.name!r} must be one line of printable text, at most {_LONGEST} characters")


def _summary(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    one_line(instance, attribute, value)
    if not value:
        raise ValueError("'summary' is empty")


def names_only(names: Iterable[str]) -> tuple[str, ...]:
    """Names that can be printed, as a record holds several."""
    if isinstance(names, str):
        raise TypeError(f"expected a list of names, got the text {shown(names)}")
    out = tuple(islice(names, _MOST_NAMES + 1))
    if len(out) > _MOST_NAMES or not all(isinstance(name, str) and name.isprintable() for name in out):
        raise ValueError(f"expected at most {_MOST_NAMES} names that can be printed")
    return out  # `tuple` itself, as a converter, would take nothing in the eyes of a type checker


@attrs.frozen(kw_only=True)
class Spec:
    """What every record says.

    name: how the component is asked for, in lower case; unique within its kind and distribution.
    factory: ``"package.module:Class"``, an attrs class whose fields are the component's configuration.
    summary: one line for ``emnist-diff plugins list``.
    aliases: other names that resolve to this one (spellings of older documents).
    api: the contract version the plugin was written for.
    deprecated: what to use instead, and since when, of a component on its way out; using it warns.
    default: whether it serves where a configuration names no component of its kind; of sinks, all such do.
    """

    kind: ClassVar[str] = "component"

    name: str = attrs.field(validator=_NAME)
    factory: str = attrs.field(validator=_FACTORY)
    summary: str = attrs.field(validator=_summary)
    aliases: tuple[str, ...] = attrs.field(default=(), converter=names_only)
    api: int = attrs.field(default=API, validator=v.instance_of(int))
    deprecated: str = attrs.field(default="", validator=one_line)
    default: bool = attrs.field(default=False, validator=v.instance_of(bool))


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

    What ``emnist-diff schedulers`` says of it:

    order: of accuracy.  noise: when it draws some (``no``, ``yes``, ``eta > 0``).
    evaluations: of the network in a step.  process: the forward process that it walks, ``diffusion`` or ``flow``.
    predictions: the types of them that it takes there.
    """

    kind: ClassVar[str] = "scheduler"
    order: str = attrs.field(default="?", validator=one_line)
    noise: str = attrs.field(default="?", validator=one_line)
    evaluations: str = attrs.field(default="1", validator=one_line)
    process: str = attrs.field(default="diffusion", validator=one_line)
    predictions: tuple[str, ...] = attrs.field(default=("epsilon", "v_prediction", "sample"), converter=names_only)


@attrs.frozen(kw_only=True)
class ScheduleSpec(Spec):
    """A kind of schedule, by the name that a table says. The factory is a `schedules.Schedule`, an attrs class. That of
    the default one takes a function, where a schedule is given as one."""

    kind: ClassVar[str] = "schedule"


@attrs.frozen(kw_only=True)
class SinkSpec(Spec):
    """A sink: records frames.

    flag: ``video`` lets ``emnist-diff run --save-video`` add the sink and ``--no-video`` leave it out.
    """

    kind: ClassVar[str] = "sink"
    flag: str = attrs.field(default="", validator=v.matches_re(r"([a-z0-9][a-z0-9-]*)?"))


@attrs.frozen(kw_only=True)
class DenoiserSpec(Spec):
    """A family of denoisers. The factory makes a `families.DenoiserFamily`.

    opens_paths: whether the family is asked, as `families.OpensPaths` says, when a path is named as a checkpoint.
    """

    kind: ClassVar[str] = "denoiser"
    opens_paths: bool = False


@attrs.frozen(kw_only=True)
class ReviewSpec(Spec):
    """What examines a run before it starts. The factory makes a `surroundings.Review`."""

    kind: ClassVar[str] = "review"


@attrs.frozen(kw_only=True)
class ChooserSpec(Spec):
    """What puts the networks of a run on a backend; the default one does. The factory makes an `evaluators.Chooser`."""

    kind: ClassVar[str] = "chooser"


@attrs.frozen(kw_only=True)
class OverlapSpec(Spec):
    """What does a part of a run's work beside the thread that computes; the default one does. The factory makes a
    `running.recording.Overlap`."""

    kind: ClassVar[str] = "overlap"
