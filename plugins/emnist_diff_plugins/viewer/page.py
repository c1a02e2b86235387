"""The viewer's page with what is shown in it, and the policy that a browser holds it to."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import OutputError

BUILT = Path(__file__).with_name("static") / "viewer.html"
"""The page as it is built from plugins/viewer."""

_NOTHING = "'none'"
_INLINE = re.compile(r"<(script|style)\b([^>]*)>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)
_DATA = re.compile(r"""\btype\s*=\s*["']?(?:application/json|text/plain|application/octet-stream)""", re.IGNORECASE)


@attrs.frozen
class Embedded:
    """A file whose bytes stand in the page."""

    name: str
    data: bytes


def page(served: Sequence[Mapping[str, Any]] = (), embedded: Iterable[Embedded] = (), *, policy: bool = False) -> str:
    """The page.

    served: an entry of each run that it can read from elsewhere, as plugins/viewer describes them: ``name``, ``bytes``,
    and ``url`` or ``port``; ``sidecar`` is such an entry of what was captured from it afterwards.
    policy: whether the page itself states the policy, because no server does.

    Raises `OutputError` where the page was not built.
    """
    built = _built()
    parts = [f'<meta http-equiv="Content-Security-Policy" content="{escape(content_policy(built))}">'] if policy else []
    if served:
        parts.append(f'<script type="application/json" id="served">{_json(served)}</script>')
    for number, file in enumerate(embedded):
        parts.append(
            f'<script type="application/octet-stream;base64" id="embedded-{number}" data-name="{escape(file.name)}">'
            f"{base64.b64encode(file.data).decode()}</script>"
        )
    before, script, after = built.partition("<script")
    return "".join([before, *(f"{part}\n" for part in parts), script, after])


def content_policy(html: str) -> str:
    """What the page's own scripts and styles may do: they are known by their hashes, and nothing is loaded but what
    stands in the page and files of the same server."""
    scripts, styles = [], []
    for kind, attributes, text in _INLINE.findall(html):
        if kind.lower() == "style":
            styles.append(_hash(text))
        elif not _DATA.search(attributes):
            scripts.append(_hash(text))
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(scripts) or _NOTHING}",
            f"style-src {' '.join(styles) or _NOTHING}",
            "img-src data: blob:",
            "connect-src 'self'",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _built() -> str:
    try:
        return BUILT.read_text(encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the viewer's page, {BUILT}, cannot be read: {error.strerror} — "
            "build it with npm run page in plugins/viewer"
        ) from error


def _json(value: Any) -> str:
    """JSON that ends no script and begins no comment, whatever names are in it."""
    return json.dumps(value).replace("<", "\\u003c")
