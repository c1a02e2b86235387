"""The hidden file in a sink's folder that says whose samples are there, and how they were written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from emnist_diff.frames import RunHeader
from emnist_diff_trajectory.growth import sample_count
from emnist_diff_trajectory.identity import evaluation, run_fingerprint

NAME = ".run.json"


@attrs.frozen
class Mark:
    """run: hash of the run's record, but for the number of samples.  samples: that number.  evaluation: how networks
    were evaluated, for a run that goes on.  settings: of the sink, which a resumed run must repeat."""

    run: str
    samples: int
    evaluation: Mapping[str, Any]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, header: RunHeader, settings: Mapping[str, Any]) -> Mark:
        """The mark that the run of a header leaves."""
        config = header.config
        return cls(run_fingerprint(config), sample_count(config), evaluation(config), _plain(settings))

    def to_bytes(self) -> bytes:
        """The content of the file."""
        return json.dumps(attrs.asdict(self), sort_keys=True).encode()

    def refusal(self, known: bytes | None) -> str:
        """Why a run with this mark does not go on where the file holds `known`, as part of a message; "" where it does:
        with the same samples, or with more."""
        try:
            stored = json.loads(known or b"")
            run, samples, settings = stored["run"], stored["samples"], dict(stored["settings"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return "belongs to another run"  # damaged, or made by hand: not known to be this one's
        if run != self.run:
            return "belongs to another run"
        if odd := sorted(key for key in self.settings if settings.get(key) != self.settings[key]):
            shown = "; ".join(f"{key}: {settings.get(key)!r:.80} there, {self.settings[key]!r:.80} here" for key in odd)
            return f"was written with other settings ({shown})"
        if not isinstance(samples, int) or samples > self.samples:
            return f"has {samples!r:.20} samples, and {self.samples} are wanted: a run is not made smaller"
        return ""


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives them back."""
    return dict(json.loads(json.dumps(settings)))
