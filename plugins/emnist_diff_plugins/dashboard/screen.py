"""A snapshot drawn for a terminal of some size: four panels and a picture, or as much of it as fits."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from emnist_diff.printable import printable
from emnist_diff_plugins import blocks
from emnist_diff_plugins.dashboard.devices import Readings
from emnist_diff_plugins.dashboard.state import Picture, Snapshot

WIDE, TALL = 76, 20
"""From this size on there are four panels."""

_PICTURE_FROM = 28
"""Lines from which there is room for the picture."""

_BOTH_FROM, _LEAST_TABLE = 34, 4
"""Lines from which the picture leaves room for the numbers of a sample, and how many those take."""

_LEVELS = {"debug": "dim", "info": "cyan", "warning": "yellow", "error": "red", "critical": "bold red"}


Drawn = dict[str, tuple[object, tuple[int, int | None], list[Segment]]]
"""Parts of the screen as they were drawn last: what they showed, their size, the segments."""


def screen(now: Snapshot, readings: Readings, width: int, height: int, drawn: Drawn) -> RenderableType:
    """What to draw on `width` × `height` cells; it fills them. `drawn` belongs to one terminal, empty at first."""
    if height < 8 or width < 24:
        return Group(*_progress_rows(now, width, height))
    if width < WIDE or height < TALL:
        return _stacked(now, readings, height)
    whole = Layout()
    upper, lower = Layout(name="upper"), Layout(name="lower")
    log, devices = _Kept(drawn, "log", now.lines, _log(now)), _Kept(drawn, "devices", readings, _devices(readings))
    upper.split_row(Layout(log, ratio=3), Layout(devices, ratio=2, minimum_size=30))
    finished = _Kept(drawn, "finished", now.finished, _Finished(now))
    lower.split_row(Layout(_Progress(now), ratio=2, minimum_size=34), Layout(finished, ratio=3))
    middle, spare = [], height - TALL
    if height >= _PICTURE_FROM and now.picture is not None:
        reserved = _LEAST_TABLE if now.numbers and height >= _BOTH_FROM else 0
        strip = _Strip(now.picture, min(spare - reserved, height // 2) - 2)
        middle.append(Layout(_Kept(drawn, "picture", now.picture, strip), size=strip.rows + 2))
        spare -= strip.rows + 2
    if now.numbers and spare >= _LEAST_TABLE:
        size = min(spare, len(now.numbers) + _LEAST_TABLE - 1)
        middle.append(Layout(_Kept(drawn, "numbers", now.numbers, _Numbers(now)), size=size))
    whole.split_column(upper, *middle, lower)
    return whole


def _stacked(now: Snapshot, readings: Readings, height: int) -> RenderableType:
    """One panel above the other, the most important first."""
    whole = Layout()
    parts = [Layout(_Progress(now), size=min(height, 9))]
    if height >= 20:
        parts.append(Layout(_devices(readings), size=min(2 + len(_device_rows(readings)), height - 15)))
    if height >= 32:
        parts.append(Layout(_Finished(now)))
    if height >= 13:
        parts.append(Layout(_log(now)))
    elif height > 9:
        parts.append(Layout(Text("")))
    whole.split_column(*parts)
    return whole


def _panel(inside: RenderableType, title: str, height: int | None = None) -> Panel:
    """`inside` in a frame; in a layout, which gives its parts a height, that of the part."""
    heading = Text(title, "bold default")
    return Panel(inside, title=heading, title_align="left", border_style="bright_black", padding=(0, 1), height=height)


class _Kept:
    """A part drawn again only when what it shows, or its size, is another: drawing takes the run's own time."""

    def __init__(self, drawn: Drawn, name: str, subject: object, part: RenderableType) -> None:
        self._drawn, self._name, self._subject, self._part = drawn, name, subject, part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        size = options.max_width, options.height
        subject, then, segments = self._drawn.get(self._name, (None, (0, 0), []))
        if subject is not self._subject or then != size:
            # yielded, it would not be told the height of its place
            segments = list(console.render(self._part, options))
            self._drawn[self._name] = self._subject, size, segments
        yield from segments


class _Log:
    """The newest lines, as many as fit, one to a row."""

    def __init__(self, now: Snapshot) -> None:
        self._lines = now.lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines[-(options.height or options.max_height) :]:
            text = Text(time.strftime("%H:%M:%S ", time.localtime(line.at)), "dim", no_wrap=True, overflow="ellipsis")
            if line.level:
                text.append(f"{line.level} ", _LEVELS.get(line.level, "magenta"))
            text.append(printable(line.text), "not dim")
            yield text


def _log(now: Snapshot) -> Panel:
    return _panel(_Log(now), "log")


class _Progress:
    """How far the run is."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = (options.height or options.max_height) - 2
        title = "stopping after this batch" if self._now.stopping else "progress"
        yield _panel(Group(*_progress_rows(self._now, options.max_width - 4, height)), title, options.height)


def _progress_rows(now: Snapshot, width: int, height: int) -> list[RenderableType]:
    """Lines on how far the run is, the most important ones if there is not room for all."""
    walked = now.step / now.steps if now.steps else 0.0
    samples = _row(f"{now.done} of {now.total} samples", "", width)
    rate = "…" if now.rate is None else f"{now.rate:.3g} samples/s"
    left = "… left" if now.left is None else f"{clock(now.left)} left"
    bar = _bar((now.done + now.batch * walked) / max(1, now.total), width, "green")
    few: list[RenderableType] = [samples, _row(rate, left, width), bar]
    if height < 4:
        return few[: max(1, height)]
    more = f"{now.resumed} were there" if now.resumed else ""
    rows: list[RenderableType] = [
        _row(printable(now.title), more, width, "bold"),
        samples,
        bar,
        _row(rate, left, width),
        _row(f"step {now.step} of {now.steps}", f"{now.batch} in hand" if now.batch else "", width),
        _bar(walked, width, "cyan"),
        _row("elapsed", clock(now.elapsed), width),
    ]
    return rows[:height]


def _row(left: str, right: str, width: int, style: str = "") -> Text:
    """Two texts at the ends of one line; the right one goes first when both do not fit."""
    space = width - len(left) - len(right)
    text = Text(left, style, no_wrap=True, overflow="ellipsis")
    if right and space > 0:
        text.append(" " * space + right, "not bold")
    return text


def _bar(share: float, width: int, style: str) -> Text:
    """A bar and, at its end, the same share as a number, which is 100 % only when all is done."""
    share = min(1.0, share)
    number = f" {int(100 * share + 1e-9)} %".rjust(6) if width > 20 else ""
    width -= len(number)
    full, half = divmod(round(2 * width * share), 2)
    bar = Text("━" * full + "╸" * half, style, no_wrap=True)
    bar.append("─" * (width - full - half), "bright_black")  # thin, to be told apart without colours
    return bar.append(number, "default")


def clock(seconds: float) -> str:
    """``0:07``, ``12:34``, ``1:02:03``, ``2 d 03:04``."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24:02d}:{m:02d}"
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def _devices(readings: Readings) -> Panel:
    return _panel(Group(*_device_rows(readings)), "devices")


def _device_rows(readings: Readings) -> list[RenderableType]:
    rows: list[RenderableType] = []
    if readings.load is not None:
        rows.append(_device("CPU", _load(readings.load), f"{readings.own_load:.1f} of {readings.cores} here"))
        used = _gb(readings.memory, readings.memory_total)
        rows.append(_device("RAM", _filled(readings.memory, readings.memory_total), used))
        rows.append(_device("", Text(), f"{_gb(readings.own_memory)} here"))
    for gpu in readings.gpus:
        hot = "" if gpu.temperature is None else f"  {gpu.temperature:.0f} °C"
        rows.append(_device(f"GPU {gpu.index}", _load(gpu.load), printable(gpu.name)))
        rows.append(_device("", _filled(gpu.memory, gpu.memory_total), _gb(gpu.memory, gpu.memory_total) + hot))
    return rows + [Text(printable(note), "dim") for note in readings.notes]


def _device(name: str, share: Text, more: str) -> Text:
    row = Text(f"{name:<6}", no_wrap=True, overflow="ellipsis")
    return row.append(" " * (5 - len(share))).append(share).append(f" {more}")


def _load(load: float | None) -> Text:
    """A busy device is a good one."""
    if load is None:
        return Text("-")
    return Text(f"{load:.0%}", "green" if load > 0.8 else "yellow" if load > 0.4 else "red")


def _filled(used: int, total: int) -> Text:
    """A full memory is a bad one."""
    share = used / max(1, total)
    return Text(f"{share:.0%}", "green" if share < 0.8 else "yellow" if share < 0.95 else "red")


def _gb(*sizes: int) -> str:
    return "/".join(f"{size / 1e9:.1f}" for size in sizes) + " GB"


class _Finished:
    """The newest finished samples, as many as fit."""

    def __init__(self, now: Snapshot) -> None:
        self._finished = now.finished

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._finished[-max(1, (options.height or options.max_height) - 3) :]
        on_gpu = any(sample.gpu_mb is not None for sample in shown)
        rows = [("sample", "class", "seed", "seconds", "path L2", "GPU MB")]
        for s in reversed(shown):
            memory = "-" if s.gpu_mb is None else f"{s.gpu_mb:.0f}"
            rows.append(
                (str(s.sample), printable(s.character), str(s.seed), f"{s.seconds:.3f}", f"{s.path:.2f}", memory)
            )
        table = [row[: 6 if on_gpu else 5] for row in rows]
        yield _panel(Group(*_lines(table, {1})), "finished samples", options.height)


class _Numbers:
    """What is measured of samples in hand, as many as fit."""

    def __init__(self, now: Snapshot) -> None:
        self._step, self._numbers = now.measured, now.numbers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._numbers[: max(1, (options.height or options.max_height) - 3)]
        columns = [["sample", *(str(each.sample) for each in shown)]]
        for name, heading, form in _COLUMNS:
            values = [each.values.get(name, math.nan) for each in shown]
            cells = ["-" if math.isnan(value) else format(value, form) for value in values]
            if set(cells) != {"-"}:
                columns.append([heading, *cells])
        if any(each.token for each in shown):
            cells = [f"{printable(each.token)} {each.share:.0%}" if each.token else "-" for each in shown]
            columns.insert(min(5, len(columns)), ["most attended", *cells])
        rows = list(zip(*columns, strict=True))
        title = f"numbers of samples in hand, {self._step} step{'s'[: self._step != 1]} behind them"
        yield _panel(Group(*_lines(rows, set())), title, options.height)


_COLUMNS = (
    ("latent_l2_norm", "latent L2", ".2f"),
    ("predicted_noise_l2_norm", "noise L2", ".2f"),
    ("cosine_similarity_to_previous", "cosine", ".4f"),
    ("cosine_of_updates", "of updates", ".4f"),
    ("cross_attention_entropy", "H cross", ".3f"),
    ("self_attention_entropy", "H self", ".3f"),
    ("attention_kl_divergence", "KL", ".5f"),
)
"""Names of numbers, their headings and formats."""


def _lines(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[Text]:
    """A table, its headings first.  left: columns that begin at the left."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        pads = [" " * (width - cell_len(cell)) for width, cell in zip(widths, row, strict=True)]
        padded = [cell + pad if k in left else pad + cell for k, (pad, cell) in enumerate(zip(pads, row, strict=True))]
        lines.append(Text("  ".join(padded), "" if number else "dim", no_wrap=True, overflow="ellipsis"))
    return lines


class _Strip:
    """The samples in hand side by side, as many as fit, on `room` rows at most."""

    def __init__(self, picture: Picture, room: int) -> None:
        self._picture, self._pixels = picture, blocks.shrunk(picture.pixels, max(1, room))
        self.rows = (self._pixels.shape[1] + 1) // 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        count = max(1, (options.max_width - 4 + 1) // (self._pixels.shape[2] + 1))
        shown = self._pixels[:count]
        samples = self._picture.samples[: len(shown)]
        which = f"sample {samples[0]}" if len(samples) == 1 else f"samples {samples[0]} … {samples[-1]}"
        color = console.color_system is not None and not console.no_color
        title = f"estimated images at step {self._picture.step}: {which}"
        yield _panel(_Side([blocks.lines(picture, color) for picture in shown]), title)


class _Side:
    """Blocks of lines of equal height side by side."""

    def __init__(self, parts: list[list[list[Segment]]]) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for row in zip(*self._parts, strict=True):
            for number, line in enumerate(row):
                if number:
                    yield Segment(" ")
                yield from line
            yield Segment.line()
