"""A trajectory as notebooks and prompts show it: a line of text, a page with pictures of bounded size, or the widget of
a plugin."""

from __future__ import annotations

import base64
import io
import sys
from html import escape
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.components import make
from emnist_diff.discovery import installed
from emnist_diff.errors import EmnistDiffError, PluginError, blame
from emnist_diff_trajectory.contract import WidgetSpec
from emnist_diff_trajectory.opening import reading

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory

_MOST_PICTURES = 24
_WIDEST = 96
"""Pixels of a picture, of which every second, third, … is left out where it has more."""
_LONGEST = 40
"""Characters of a name that are shown."""


def line(trajectory: Trajectory) -> str:
    """``<Trajectory 't.h5': 4 of 10 samples committed, 50 steps, class A, B, predicts epsilon>``."""
    if not trajectory.is_open:
        return f"<Trajectory {trajectory.path.name!r}: closed>"
    counts = f"{len(trajectory.committed)} of {len(trajectory)} samples committed, {trajectory.steps} steps"
    return (
        f"<Trajectory {trajectory.path.name!r}: {counts}, class {_names(trajectory)}, "
        f"predicts {trajectory.prediction_type[:_LONGEST]}>"
    )


def page(trajectory: Trajectory) -> str:
    """HTML: the same facts, and the final images of the first committed samples as PNG in data URIs."""
    if not trajectory.is_open:
        return f"<p>{escape(line(trajectory))}</p>"
    done = trajectory.committed
    facts = {
        "samples": f"{len(done)} committed of {len(trajectory)}, class {_names(trajectory)}",
        "steps": f"{trajectory.steps}, on a {trajectory.forward_process[:_LONGEST]}",
        "predicts": trajectory.prediction_type[:_LONGEST],
        "fields": ", ".join(trajectory.fields) or "images alone",
        "forces": _few(trajectory.force_names),
        "drifts": _few(trajectory.drift_names),
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in facts.items() if text)
    figures = "".join(_figure(trajectory, position) for position in done[:_MOST_PICTURES])
    more = f"<p>and {len(done) - _MOST_PICTURES} more</p>" if len(done) > _MOST_PICTURES else ""
    return (
        f"<div><p><b>{escape(trajectory.path.name)}</b></p><table>{rows}</table>"
        f'<div style="display:flex;flex-wrap:wrap;gap:6px">{figures}</div>{more}</div>'
    )


def bundle(trajectory: Trajectory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What IPython shows, and metadata of it: the widget where there is one; and the page, for who reads the notebook
    later, which says why there is no widget. At a prompt in a terminal nothing but the line."""
    if _in_terminal() or not trajectory.is_open:
        return {}, {}
    data, metadata = {}, {}
    try:
        data, metadata = _widget(trajectory)._repr_mimebundle_()
        note = ""
    except EmnistDiffError as error:
        note = f"<p>{escape(str(error))}</p>"
    return {**data, "text/plain": line(trajectory), "text/html": page(trajectory) + note}, metadata


def displayed(trajectory: Trajectory) -> Any:
    """What marimo is to show in the place of a trajectory: the widget, or where there is none the page."""
    note = ""
    if trajectory.is_open:
        try:
            return _widget(trajectory)
        except EmnistDiffError as error:
            note = f"<p>{escape(str(error))}</p>"
    return _Html(page(trajectory) + note)


@attrs.frozen
class _Html:
    """What a notebook shows as it stands."""

    text: str

    def _repr_html_(self) -> str:
        return self.text


def _widget(trajectory: Trajectory) -> Any:
    """What the default plugin shows a trajectory by. Raises an `EmnistDiffError` where that is not possible."""
    component = make(installed(), WidgetSpec, None)
    label = component.label(WidgetSpec.kind)
    with blame(PluginError, lambda error: f"{label} failed: {type(error).__name__}: {error}"):
        return component.object.widget(trajectory)


def _in_terminal() -> bool:
    """Whether IPython runs in a terminal, which shows text alone."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "TerminalInteractiveShell"


def _figure(trajectory: Trajectory, position: int) -> str:
    with reading(trajectory.path):
        image = np.asarray(trajectory.field("images", position))
    data = base64.b64encode(_png(_small(image))).decode()
    sample = trajectory[position]
    name = escape(f"{sample.id}: {_short(sample.character)}")
    return (
        f'<figure style="margin:0;text-align:center"><img alt="{name}" src="data:image/png;base64,{data}" '
        f'style="height:72px;image-rendering:pixelated"><figcaption>{name}</figcaption></figure>'
    )


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image  # which no other reader of a trajectory needs

    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def _small(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    stride = max(1, -(-max(image.shape[:2]) // _WIDEST))
    return np.ascontiguousarray(image[::stride, ::stride], np.uint8)


def _names(trajectory: Trajectory) -> str:
    return _few([trajectory.classes[label] for label in np.unique(trajectory.labels)[:9].tolist()])


def _few(names: Any) -> str:
    return ", ".join(map(_short, names[:8])) + (", …" if len(names) > 8 else "")


def _short(name: str) -> str:
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
