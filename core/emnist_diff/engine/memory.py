"""What components remember from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from torch import Tensor

from emnist_diff.errors import RunFailed
from emnist_diff.steps import not_remembered


@attrs.define(eq=False)
class Memory:
    """The memory of all components during one step, each seeing its own.

    before: what they left at the step before, ``scope/name`` → (B, …).  size: B.
    left: the same for the step after.  open: whether anything can be left.
    """

    before: Mapping[str, Tensor]
    size: int
    left: dict[str, Tensor] = attrs.field(factory=dict)
    open: bool = True

    def closed(self) -> Memory:
        """The same, to be read only: of second evaluations of a scheduler."""
        return Memory(self.before, self.size, open=False)

    def after(self) -> Memory:
        """What has been left so far, to be read only: of evaluations at the level where the step ends."""
        return Memory(dict(self.left), self.size, open=False)

    def of(self, scope: str) -> dict[str, Tensor]:
        """What a component left at the step before, by its own names."""
        start = f"{scope}/"
        return {name[len(start) :]: value for name, value in self.before.items() if name.startswith(start)}

    def remembering(self, scope: str) -> Callable[[str, Tensor], None]:
        """How a component leaves something.

        Raises `RunFailed` for what is no tensor with one entry a sample.
        """
        if not self.open:
            return not_remembered

        def remember(name: str, value: Tensor) -> None:
            self.keep(scope, {name: value})

        return remember

    def keep(self, scope: str, values: Mapping[str, Tensor]) -> None:
        """Leave all of this for a component. Raises as `remembering`."""
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != self.size:
                said = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise RunFailed(
                    f"{scope} remembered {name!r} as {said} — memory is tensors with one entry for each of the "
                    f"{self.size} samples, (B, …)"
                )
            self.left[f"{scope}/{name}"] = value.detach()
