"""A bench's findings, for a reader and as data."""

from __future__ import annotations

from typing import Any

import attrs
from rich.console import Console
from rich.table import Table

from emnist_diff.printable import printable
from emnist_diff_plugins.benching.ceiling import Ceiling
from emnist_diff_plugins.benching.cells import Measured, Skipped
from emnist_diff_plugins.benching.recommend import Recommendation


@attrs.frozen
class Findings:
    """All that a bench finds.

    machine: see `machine.description`.  checkpoint: what was measured with.  flops: operations of a network row.
    rows_per_sample: network rows of one sample in a default run, whose settings are `run`.
    ceilings: one a precision.  recommended: None where nothing could be measured.
    """

    machine: dict[str, Any]
    checkpoint: str
    flops: int
    rows_per_sample: float
    run: str
    ceilings: tuple[Ceiling, ...]
    measured: tuple[Measured, ...]
    skipped: tuple[Skipped, ...]
    recommended: Recommendation | None

    def share(self, item: Measured) -> float | None:
        """The operations a second of a measurement as a share of the ceiling of its precision."""
        for ceiling in self.ceilings:
            if (ceiling.precision, ceiling.threads) == (item.cell.precision, item.cell.threads):
                return self.flops * item.rows_per_second / ceiling.convolution if ceiling.convolution else None
        return None

    @property
    def busy(self) -> bool:
        """Whether others were using a quarter of the cores or more, so that little is to be trusted."""
        load: float | None = self.machine["load"]
        return load is not None and load > self.machine["cores"] / 4

    def samples_per_second(self, item: Measured) -> float:
        """Of a default run that does nothing but evaluate its network."""
        return item.rows_per_second / self.rows_per_sample

    def data(self) -> dict[str, Any]:
        """JSON-ready."""
        best = self.recommended
        return {
            "machine": self.machine,
            "busy": self.busy,
            "checkpoint": self.checkpoint,
            "flops_per_row": self.flops,
            "default_run": {"settings": self.run, "rows_per_sample": self.rows_per_sample},
            "ceilings": [attrs.asdict(c) for c in self.ceilings],
            "measured": [
                {
                    **attrs.asdict(m.cell),
                    "ms_per_row": m.ms_per_row,
                    "rows_per_second": m.rows_per_second,
                    "samples_per_second": self.samples_per_second(m),
                    "share_of_ceiling": self.share(m),
                    "error": m.error,
                    "setup_seconds": m.setup,
                    "spread": m.spread,
                }
                for m in self.measured
            ],
            "skipped": [attrs.asdict(s) for s in self.skipped],
            "recommended": None
            if best is None
            else {
                "settings": {key: value for key, value in best.settings.items() if value is not None},
                "exact": best.exact,
                "rows": best.best.cell.rows,
                "samples_per_second": self.samples_per_second(best.best),
            },
        }

    def show(self, console: Console) -> None:
        """Print it."""

        def say(text: str = "") -> None:
            console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

        machine = self.machine
        say(f"{machine['processor']}, {machine['cores']} cores, {machine['device']}")
        versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
        load = "" if machine["load"] is None else f"; load {machine['load']:.1f} before it began"
        say(f"{machine['instructions']}, {versions}{load}")
        say(
            f"{self.checkpoint}: {self.flops / 1e9:.2f} GFLOP a network row; a default run ({self.run}) asks for "
            f"{self.rows_per_sample:g} rows a sample"
        )
        say()
        console.print(self._cells())
        for skip in self.skipped:
            say(f"skipped {skip.what}: {skip.reason}")
        if self.skipped:
            say()
        for c in self.ceilings:
            parts = [f"matrix product {c.matmul / 1e9:,.0f}"]
            if c.convolution is not None and c.convolutions is not None:
                parts = [
                    f"fastest 3×3 convolution of the network {c.convolution / 1e9:,.0f}",
                    f"all of them {c.convolutions / 1e9:,.0f}",
                    *parts,
                ]
            say(f"ceiling {c.precision}, {_threads(c.threads)}, GFLOP/s: {', '.join(parts)}")
        if self.busy:
            say()
            say("the machine was busy: repeat this when it is not")
        say()
        say(self.advice())

    def _cells(self) -> Table:
        best = self.recommended.best if self.recommended is not None else None
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("backend")
        table.add_column("precision")
        for head in (
            "threads", "rows", "at once", "ms/row", "rows/s", "samples/s", "of ceiling", "error", "set-up s", "spread",
        ):  # fmt: skip
            table.add_column(head, justify="right")
        for m in self.measured:
            share = self.share(m)
            table.add_row(
                m.cell.backend,
                m.cell.precision,
                str(m.cell.threads),
                str(m.cell.rows),
                str(m.cell.at_once),
                f"{m.ms_per_row:.2f}",
                f"{m.rows_per_second:.0f}",
                f"{self.samples_per_second(m):.1f}",
                "-" if share is None else f"{share:.0%}",
                f"{m.error:.0e}",
                f"{m.setup:.1f}",
                f"{m.spread:.2f}",
                style="bold" if m is best else "",
            )
        return table

    def advice(self) -> str:
        """What to do with it, in a sentence or two."""
        if self.recommended is None:
            return "nothing was measured for runs of many samples, so nothing is recommended"
        changed = {key: value for key, value in self.recommended.settings.items() if value is not None}
        rate = f"{self.samples_per_second(self.recommended.best):.1f} samples a second"
        if not changed:
            return f"recommended: the defaults ({rate}, without recording)"
        flags = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in changed.items())
        differ = "" if self.recommended.exact else "; samples differ from those of fp32, see docs/performance.md"
        return f"recommended: emnist-diff run {flags}   ({rate}, without recording{differ})"


def _threads(count: int) -> str:
    return f"{count} thread" + ("" if count == 1 else "s")
