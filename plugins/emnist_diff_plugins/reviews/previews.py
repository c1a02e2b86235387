"""Cheap pictures of steps, from the denoiser that has them to the sinks that show them."""

from __future__ import annotations

import attrs

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.protocols import offers
from emnist_diff.surroundings import Review
from emnist_diff_plugins.capabilities import Previews, ShowsPreviews


@attrs.frozen
class PreviewedSteps(Review):
    """Passes what makes cheap pictures of states to the sinks that show steps."""

    def require_sinks(self, assembly: Assembly) -> None:
        """`Review.require_sinks`. Raises what a sink that cannot do without previews raises."""
        denoiser: object = assembly.engine.denoisers[""]
        previewer = denoiser.previewer if offers(denoiser, Previews) else None
        for sink in assembly.sinks:
            if offers(sink, ShowsPreviews):
                sink.take_previewer(previewer)
