"""What components remember from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from torch import Tensor

from emnist_diff.errors import RunFailed
from emnist_diff.steps import forget


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
        """A read-only view for a scheduler's further evaluations; writes are dropped."""
        return Memory(self.before, self.size, open=False)

    def after(self) -> Memory:
        """A read-only view of what has been kept so far, for evaluations where the step ends; writes are dropped."""
        return Memory(dict(self.left), self.size, open=False)

    def of(self, scope: str) -> dict[str, Tensor]:
        """What a component kept at the step before, by its own names."""
        start = f"{scope}/"
        return {name[len(start) :]: value for name, value in self.before.items() if name.startswith(start)}

    def remembering(self, scope: str) -> Callable[[str, Tensor], None]:
        """How a component keeps something for the next step."""
        return (lambda name, value: self.keep(scope, {name: value})) if self.open else forget

    def keep(self, scope: str, values: Mapping[str, Tensor]) -> None:
        """Keep all of this for a component. Raises `RunFailed` for what is not a tensor with one entry a sample."""
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != self.size:
                kind = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise RunFailed(
                    f"{scope} remembered {name!r} as {kind} — memory is tensors with one entry for each of the "
                    f"{self.size} samples, (B, …)"
                )
            self.left[f"{scope}/{name}"] = value.detach()
