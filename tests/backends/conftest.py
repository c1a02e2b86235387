"""Fixtures that the tests of backends share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emnist_diff_plugins.containers.userfolder import VARIABLE


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What backends compile is kept for other tests, since it takes longest, and not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield
