"""The reviews of the registry, which examine a run before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import UnknownName
from emnist_diff.plugins import Registry
from emnist_diff.records import ReviewSpec
from emnist_diff.surroundings import Review


def reviews(registry: Registry) -> list[Review]:
    """All installed reviews. Raises the errors of `components.make`."""
    return [make(registry, ReviewSpec, ComponentConfig(e.qualified)).object for e in registry.of(ReviewSpec)]


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
