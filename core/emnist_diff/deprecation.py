"""How a name is retired: it works, and says what to use instead, for as long as `docs/compatibility.md` promises."""

from __future__ import annotations

import warnings


class EmnistDiffDeprecationWarning(FutureWarning):
    """Something that works now will not in a later version. A `FutureWarning`, because it is for those who run
    things as much as for those who write them."""


def deprecated(what: str, instead: str, stacklevel: int = 2) -> None:
    """Warn that `what` (``force 'old_name'``) is on its way out; `instead` says since when, and what to use.

    stacklevel: of the caller that is to be blamed, as in `warnings.warn`; 2 is the caller of the caller.
    """
    warnings.warn(f"{what} is deprecated: {instead}", EmnistDiffDeprecationWarning, stacklevel=stacklevel + 1)
