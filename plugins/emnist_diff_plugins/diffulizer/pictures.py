"""The pictures of a dataset: what a sample looks like where its steps end."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.plugins import Registry
from emnist_diff_plugins import rebuild
from emnist_diff_plugins.diffulizer.recorded import Pair, Recorded
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.pictures import Decode, are_pictures


@attrs.define(eq=False)
class Pictures:
    """Of a file, one step after the other, since a codec of large images has no room for many at once.

    registry, checkpoint: where the codec is found when it is needed first; see `rebuild.decoder`, whose errors a call
    raises.
    """

    pair: Pair
    registry: Registry
    checkpoint: str | None = None
    _plain: bool | None = attrs.field(init=False, default=None)
    _decode: Decode | None = attrs.field(init=False, default=None)

    def __call__(self, recorded: Recorded) -> Iterator[npt.NDArray[np.uint8]]:
        """uint8 (H, W) or (H, W, 3) each; the last is the picture that the run recorded."""
        file = self.pair.states
        if self._plain is None:
            self._plain = are_pictures(file)
        if not self._plain and self._decode is None and len(recorded.steps) > 1:
            self._decode = rebuild.decoder(file, self.registry, self.checkpoint)
        for end in recorded.ends[:-1]:
            yield file.pictures(recorded.position, [end], self._decode)[0]
        with reading(file.path):
            yield np.asarray(file.images[recorded.position])
