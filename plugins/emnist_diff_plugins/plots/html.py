"""Pages of one HTML file. Everything that comes from files is escaped; nothing is fetched, nothing runs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from emnist_diff_plugins.plots.theme import Theme

_KINDS = {"png": "image/png", "svg": "image/svg+xml", "mp4": "video/mp4"}
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
"""What a browser may load: what is in the page. Pictures are shown as images, in which no script of an SVG runs."""


def page(title: str, theme: Theme, parts: Iterable[str]) -> str:
    """A whole page; `parts` are HTML."""
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{clean(title)}</title>\n<style>{_style(theme)}</style></head>\n"
        f"<body><h1>{clean(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def clean(text: object) -> str:
    """Text as HTML. Characters that no file may hold, or that turn the direction of text, become question marks."""
    return escape("".join(c if c.isprintable() or c == "\n" else "�" for c in str(text)), quote=True)


def section(title: str, *parts: str) -> str:
    """A heading and what is under it; nothing where there is nothing."""
    inner = "\n".join(part for part in parts if part)
    return f"<section><h2>{clean(title)}</h2>\n{inner}\n</section>" if inner else ""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text."""
    return f'<p class="{kind}">{clean(text)}</p>' if kind else f"<p>{clean(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: bool = False) -> str:
    """A table of texts; the first cell of each row says what it is of. numbers: whether the others are figures."""
    top = "".join(f'<th scope="col">{clean(cell)}</th>' for cell in head)
    body = []
    for first, *rest in rows:
        cells = "".join(f"<td>{clean(cell)}</td>" for cell in rest)
        body.append(f'<tr><th scope="row">{clean(first)}</th>{cells}</tr>')
    kind = ' class="numbers"' if numbers else ""
    return (
        f'<div class="wide"><table{kind}><thead><tr>{top}</tr></thead><tbody>\n'
        + "\n".join(body)
        + "\n</tbody></table></div>"
    )


def image(data: bytes, kind: str, what: str, caption: str = "", width: float | None = None) -> str:
    """A picture (``png`` or ``svg``). what: for those who cannot see it.  width: in columns of text of 30 em."""
    style = f' style="width:min(100%,{30 * width:.1f}em)"' if width else ""
    under = f"<figcaption>{clean(caption)}</figcaption>" if caption else ""
    return f'<figure{style}><img src="{_inside(data, kind)}" alt="{clean(what)}">{under}</figure>'


def video(data: bytes, what: str) -> str:
    """An MP4, shown when asked for."""
    source = _inside(data, "mp4")
    return f'<figure><video controls loop muted playsinline src="{source}" title="{clean(what)}"></video></figure>'


def figures(parts: Iterable[str]) -> str:
    """Pictures beside each other where there is room."""
    inner = "\n".join(parts)
    return f'<div class="figures">{inner}</div>' if inner else ""


def folded(title: str, *parts: str) -> str:
    """What is shown when asked for."""
    return f"<details><summary>{clean(title)}</summary>\n" + "\n".join(parts) + "</details>"


def _inside(data: bytes, kind: str) -> str:
    return f"data:{_KINDS[kind]};base64,{base64.b64encode(data).decode('ascii')}"


def _style(theme: Theme) -> str:
    return (
        f"html{{background:{theme.figure};color:{theme.text};font:15px/1.5 system-ui,sans-serif}}"
        "body{max-width:72em;margin:0 auto;padding:1.5em}"
        "h1{font-size:1.5em;overflow-wrap:anywhere}"
        f"h2{{font-size:1.15em;border-bottom:1px solid {theme.grid};padding-bottom:.2em;margin-top:2em}}"
        f"figure{{margin:0}}figcaption,.note{{color:{theme.muted};font-size:.9em}}img,video{{max-width:100%;width:100%}}"
        "video{max-width:36em;image-rendering:pixelated}"
        ".figures{display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start}"
        ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9em}"
        f"th,td{{text-align:left;vertical-align:top;padding:.25em .8em .25em 0;border-bottom:1px solid {theme.grid}}}"
        "tbody th{font-weight:normal}td{overflow-wrap:anywhere;white-space:pre-wrap}"
        ".numbers td{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"
        ".numbers th[scope=col]:not(:first-child){text-align:right}"
        f"summary{{cursor:pointer;margin:.5em 0;color:{theme.muted}}}"
    )
