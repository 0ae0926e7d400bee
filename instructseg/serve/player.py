"""A segmented video as HTML: plays with its masks over it, frame by frame, with a switch for each object.

``page.js`` draws the outlines of the frame that is shown; what all figures share stands in ``page.css``.
"""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import quote

from instructseg.serve.figure import switches, tint_of
from instructseg.serve.kept_video import KeptObject, KeptVideo


def player_html(kept: KeptVideo, threshold: float) -> str:
    """The figure of a video that was segmented to its end.

    Args:
        kept: the video.
        threshold: presence (0..1) below which nothing is marked at first.
    """
    rows = kept.rows
    height, width = (side + side % 2 for side in kept.size)
    said = html.escape(f"{kept.source.name} with masks: {', '.join(kept.prompts)}")
    return (
        f'<figure class="found player" data-outlines="{address(kept.outlines)}" data-fps="{kept.fps:.12g}" '
        f'data-presence="{threshold:g}"><div class="stage">'
        f'<video src="{address(kept.plain)}" width="{width}" height="{height}" aria-label="{said}" '
        'muted playsinline loop preload="auto" disablepictureinpicture></video>'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"></svg></div>'
        '<div class="controls"><button type="button" class="play">Play</button>'
        f'<input type="range" class="seek" min="0" max="{kept.count - 1}" value="0" aria-label="Frame">'
        '<span class="place">loading …</span></div>'
        f"<figcaption><ul>{''.join(map(_line, rows))}</ul></figcaption>{switches(len(rows))}</figure>"
    )


def address(file: Path) -> str:
    """Where gradio serves a file of the results; relative, so that a proxy may put the page below a path."""
    return f"gradio_api/file={quote(str(file))}"


def _line(row: KeptObject) -> str:
    name = html.escape(row.name)
    if row.number is None:
        return f'<li class="none">{name} – nothing found</li>'
    tint = tint_of(row.id)
    return (
        f'<li data-number="{row.number}" data-tint="{tint}" data-name="{name}"><label class="m{row.number}">'
        f'<input type="checkbox" class="m{row.number}" checked> '
        f'<span class="swatch" style="background:{tint}"></span>{name} – <span class="seen">…</span>'
        "</label></li>"
    )
