"""One sample of an open trajectory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory


@attrs.frozen(eq=False, repr=False)
class Sample:
    """One sample of an open trajectory: ``sample["x"]`` is (K+1, *shape), read now; ``sample["forces/00_push/…"]``."""

    trajectory: Trajectory = attrs.field(repr=False)
    position: int = attrs.field()

    @position.validator
    def _exists(self, _: Any, position: int) -> None:
        self.trajectory.place(position)

    @property
    def id(self) -> int:
        """Its id within the run."""
        return int(self.trajectory.ids[self.position])

    @property
    def seed(self) -> int:
        """The seed that keys its noise."""
        return int(self.trajectory.seeds[self.position])

    @property
    def character(self) -> str:
        """The name of its class."""
        return self.trajectory.classes[int(self.trajectory.labels[self.position])]

    @property
    def kept(self) -> bool:
        """Whether its states are there; without them it has no more than id, seed, class and image."""
        return self.trajectory.keeps(self.position)

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """The decoded sample, (H, W) or (H, W, 3)."""
        return np.asarray(self.trajectory.field("images", self.position))

    def epsilon(self, step: int | None = None, of: str = "prediction") -> npt.NDArray[np.float64]:
        """See `Trajectory.epsilon`."""
        return self.trajectory.epsilon(self.position, step, of)

    def score(self, step: int | None = None, of: str = "prediction") -> npt.NDArray[np.float64]:
        """See `Trajectory.score`."""
        return self.trajectory.score(self.position, step, of)

    def predicted_x0(self, step: int | None = None, of: str = "prediction") -> npt.NDArray[np.float64]:
        """See `Trajectory.predicted_x0`."""
        return self.trajectory.predicted_x0(self.position, step, of)

    def __repr__(self) -> str:
        return f"<Sample {self.id} of {self.trajectory.path.name!r}: class {self.character!r:.60}, seed {self.seed}>"

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self.trajectory.field(name, self.position))
