"""The reviews of the registry, which examine a run before it starts."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import attrs

from emnist_diff.components import Component, call_component, make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import PluginError, UnknownName
from emnist_diff.plugins import Registry
from emnist_diff.records import ReviewSpec
from emnist_diff.surroundings import Review

_R = TypeVar("_R", bound=Review)


def reviews(registry: Registry) -> list[Review]:
    """All installed reviews, each named in what it raises. Raises as `reviews_of`."""
    return reviews_of(registry, Review)


def reviews_of(registry: Registry, kind: type[_R]) -> list[_R]:
    """Those of the installed reviews that derive from a class, each named in what it raises. Raises the errors of
    `components.make`, and `PluginError` for what is no review."""
    named = [make(registry, ReviewSpec, ComponentConfig(e.qualified)) for e in registry.of(ReviewSpec)]
    if odd := [component for component in named if not isinstance(component.object, Review)]:
        raise PluginError(f"{odd[0].label('review')} is not derived from surroundings.Review")
    return [cast(_R, _Named(component)) for component in named if isinstance(component.object, kind)]


@attrs.frozen
class _Named:
    """A review whose methods raise `PluginError` with its name in place of what is no error of this package."""

    component: Component

    def __getattr__(self, method: str) -> Any:
        call = getattr(self.component.object, method)
        return functools.partial(call_component, self.component.label("review"), call)


@contextmanager
def unknown_names_explained(registry: Registry, settings: RunConfig) -> Iterator[None]:
    """Whatever raises `UnknownName` in here raises it with what the reviews know of the name."""
    try:
        yield
    except UnknownName as error:
        explained = error
        for review in reviews(registry):
            explained = review.explain(explained, registry, settings)
        if explained is error:
            raise
        raise explained from error
