"""The conformance kit: what a component of one's own must hold, checked.

    from emnist_diff_testing import check_force

    def test_late_pull():
        check_force(LatePull(target="B"))

Each rule is a small function with a name; a failure says what the rule is, what was seen, and why it exists. In pytest
``@pytest.mark.emnist_diff(LatePull(target="B"))`` makes every rule a test case of its own (`pytest_plugin`), and
``emnist-diff plugins check DIST`` checks all that a distribution offers. docs/testing-plugins.md lists the rules.

Nothing is imported before it is used: the pytest plugin costs a test session nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emnist_diff_testing.checks import check_backend as check_backend
    from emnist_diff_testing.checks import check_codec as check_codec
    from emnist_diff_testing.checks import check_denoiser as check_denoiser
    from emnist_diff_testing.checks import check_drift as check_drift
    from emnist_diff_testing.checks import check_force as check_force
    from emnist_diff_testing.checks import check_objective as check_objective
    from emnist_diff_testing.checks import check_preset as check_preset
    from emnist_diff_testing.checks import check_scheduler as check_scheduler
    from emnist_diff_testing.checks import check_sink as check_sink
    from emnist_diff_testing.checks import examine as examine
    from emnist_diff_testing.models import Model as Model
    from emnist_diff_testing.models import mixture as mixture
    from emnist_diff_testing.models import tiny_unet as tiny_unet
    from emnist_diff_testing.rules import Finding as Finding
    from emnist_diff_testing.rules import Rule as Rule
    from emnist_diff_testing.rules import RuleBroken as RuleBroken
    from emnist_diff_testing.rules import RuleWarning as RuleWarning
    from emnist_diff_testing.rules import rules_of as rules_of

_WHERE = {
    "Finding": "rules",
    "Model": "models",
    "Rule": "rules",
    "RuleBroken": "rules",
    "RuleWarning": "rules",
    "check_backend": "checks",
    "check_codec": "checks",
    "check_denoiser": "checks",
    "check_drift": "checks",
    "check_force": "checks",
    "check_objective": "checks",
    "check_preset": "checks",
    "check_scheduler": "checks",
    "check_sink": "checks",
    "examine": "checks",
    "mixture": "models",
    "rules_of": "rules",
    "tiny_unet": "models",
}
__all__ = sorted(_WHERE)


if not TYPE_CHECKING:  # to a type checker this would make every unknown name an object

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
