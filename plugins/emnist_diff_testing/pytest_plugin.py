"""The pytest plugin: every rule of a component as a test case of its own.

    @pytest.mark.emnist_diff(LatePull(target="B"), LatePull)
    def test_late_pull(emnist_diff_rule):
        emnist_diff_rule()

makes ``test_late_pull[LatePull-shape]``, ``test_late_pull[LatePull-finite]`` and so on. The kind is told by what the
components have; `kind=` says it where they have much, and `skip=`, `models=`, `folder=` are those of the checks.
``@pytest.mark.emnist_diff(distribution="my-forces")`` stands for everything that the distribution registers.

``emnist_diff_registry`` is what an installed distribution offers, as `plugins check` sees it.

It is loaded in every session of an environment that has emnist-diff, and imports nothing of it before it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry

RULE = "emnist_diff_rule"
MARK = "emnist_diff"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARK}(*components, kind=None, skip=(), distribution=None, component=None, **bench): whose rules the fixture "
        f"{RULE} stands for, one after the other; see docs/testing-plugins.md of emnist-diff",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if RULE not in metafunc.fixturenames:
        return
    marks = list(metafunc.definition.iter_markers(MARK))
    if not any(mark.args or "distribution" in mark.kwargs for mark in marks):
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid} uses {RULE}, and no @pytest.mark.{MARK}(COMPONENT, …) — a class that stands "
            "there alone needs its kind besides, kind=…, for pytest takes it for what is marked"
        )
    from emnist_diff_testing.cases import cases

    found = [case for mark in marks for case in cases(*mark.args, **mark.kwargs)]
    metafunc.parametrize(RULE, found, ids=str)


@pytest.fixture
def emnist_diff_registry() -> Callable[..., Registry]:
    """What is installed: ``emnist_diff_registry("my-forces")`` holds one distribution to be whole, and all that it
    names to be there. Fails where it is broken, and where it offers nothing."""

    def of(distribution: str) -> Registry:
        from emnist_diff.discovery import installed
        from emnist_diff_testing.distributions import only

        registry = only(distribution, installed())
        if registry.broken:
            pytest.fail("\n".join(f"{b.plugin}: {b.traceback or b.error}" for b in registry.broken), pytrace=False)
        return registry

    return of
