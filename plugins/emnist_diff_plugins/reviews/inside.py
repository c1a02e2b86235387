"""What a run records of the activations that its sinks request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from emnist_diff.assembly.assemble import Parts
from emnist_diff.assembly.record import activation_requests
from emnist_diff.components import Component
from emnist_diff.engine.state import Engine
from emnist_diff.evaluators import Prepared
from emnist_diff.protocols import Captures, Denoiser, offers
from emnist_diff.surroundings import Review
from emnist_diff_plugins.capabilities import DescribesActivations


@attrs.frozen
class Inside(Review):
    """Records the requests for activations, with which a file can be replayed, and what the denoiser says of them."""

    def environment(
        self, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
    ) -> Mapping[str, Any]:
        """`Review.environment`."""
        return described(engine.denoisers[""], activation_requests(sinks, engine.timeline))


def described(denoiser: Denoiser, requests: Sequence[str]) -> Mapping[str, Any]:
    """What the environment of a run says of the activations that are requested."""
    if not offers(denoiser, Captures) or not requests:
        return {}
    facts = dict(denoiser.describe(requests)) if offers(denoiser, DescribesActivations) else {}
    return {"activations": {"requests": list(requests), **facts}}
