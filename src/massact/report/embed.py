"""Embed figures in the page: inline SVG in the page's colours, or PNG if the SVG is too large."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from pathlib import Path

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from massact.disk import write_bytes
from massact.plotting import FULL_WIDTH, INK, MUTED, RULE, STYLE

_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)"}
_RESOLUTIONS = (170, 120, 85)  # dots per inch, tried in turn
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


class Embedder:
    """Numbers the figures of a page and keeps each below `limit` bytes where possible."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self._too_many: float = float("inf")  # parts of the smallest figure whose SVG exceeded the limit

    def figure(self, figure: Figure, alt: str, caption: str) -> Markup:
        """The figure with its number and caption, and with `alt` for screen readers."""
        self.count += 1
        picture = self._picture(figure, alt)
        return Markup('<figure id="figure-{0}">{1}<figcaption><b>Figure {0}. </b>{2}</figcaption></figure>').format(
            self.count, picture, caption
        )

    def _picture(self, figure: Figure, alt: str) -> Markup:
        width = f"{min(100.0, 100 * figure.get_figwidth() / FULL_WIDTH):.4g}%"
        parts = len(figure.findobj())
        if parts < self._too_many:
            vector = inline_svg(figure, f"f{self.count}", alt, width)
            if len(vector.encode()) <= self.limit:
                return vector
            self._too_many = parts
        encoded = base64.b64encode(_png_below(figure, self.limit * 3 // 4)).decode()
        return Markup(f'<img style="width:{width}" src="data:image/png;base64,{encoded}" alt="{escape(alt)}">')


def inline_svg(figure: Figure, prefix: str, alt: str, width: str) -> Markup:
    """Inline SVG markup: no prolog, ids that begin with `prefix`, the page's colours for text and lines."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        _settle(figure)
        FigureCanvasSVG(figure).print_svg(buffer, metadata=_NO_METADATA)  # savefig draws twice
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"\s*<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r' (d|x|y)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), body)
    body = _own_ids(body, prefix)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    body = re.sub(r"'DejaVu Sans'", "var(--sans)", body)
    points = " ".join(f"{72 * inches:.6g}" for inches in figure.get_size_inches())
    return Markup(
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {points}" style="width:{width}">{body.strip()}</svg>'
    )


def png_bytes(figure: Figure, dpi: int) -> bytes:
    """The figure on white as a PNG with 256 colours. The same figure gives the same bytes."""
    return _encoded(_drawn(figure, dpi), dpi)


def _png_below(figure: Figure, limit: int) -> bytes:
    """The figure as PNG at the highest resolution within `limit` bytes, or else at the lowest. It is drawn once."""
    image = _drawn(figure, _RESOLUTIONS[0])
    content = _encoded(image, _RESOLUTIONS[0])
    for at, dpi in enumerate(_RESOLUTIONS[1:], 1):
        if len(content) <= limit:
            break
        scale = dpi / _RESOLUTIONS[0]
        smallest = len(content) * (dpi / _RESOLUTIONS[at - 1]) ** 2  # the size shrinks more slowly than the area
        if smallest > limit and dpi != _RESOLUTIONS[-1]:
            continue
        size = (round(image.width * scale), round(image.height * scale))
        content = _encoded(image.resize(size, Image.Resampling.LANCZOS), dpi)
    return content


def _drawn(figure: Figure, dpi: int) -> Image.Image:
    """The pixels of the figure on white, drawn once (`savefig` draws twice)."""
    with mpl.rc_context(STYLE):
        _settle(figure)
        before = figure.dpi, figure.get_facecolor()
        figure.set_facecolor("white")
        figure.dpi = dpi
        try:
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            return Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")
        finally:
            figure.dpi = before[0]
            figure.set_facecolor(before[1])


def _encoded(image: Image.Image, dpi: int) -> bytes:
    small = io.BytesIO()
    few = image.quantize(256, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True, dpi=(dpi, dpi))
    return small.getvalue()


def save_png(figure: Figure, path: Path, dpi: int = 170) -> Path:
    """Write the figure as PNG."""
    write_bytes(path, png_bytes(figure, dpi))
    return path


def _settle(figure: Figure) -> None:
    """Lay the figure out once: constrained layout moves the axes slightly at each drawing."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _own_ids(body: str, prefix: str) -> str:
    """Remove unreferenced ids, which repeat between figures, and prefix the others."""
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in references else "", body)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", body)
