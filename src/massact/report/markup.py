"""Functions that write HTML. Everything that is not already `Html` is data, and is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from typing import Any

MISSING = "–"


class Html(str):
    """Finished markup. Any other string is data."""

    __slots__ = ()


def safe(content: Any) -> Html:
    """The content as markup, escaped unless it is `Html`.

    >>> safe("<script>")
    '&lt;script&gt;'
    """
    return content if isinstance(content, Html) else Html(escape(str(content)))


def join(parts: Iterable[Any], between: str = "") -> Html:
    """The parts, escaped if needed, joined."""
    return Html(between.join(safe(part) for part in parts))


def tag(name: str, *content: Any, **attributes: Any) -> Html:
    """An element. `class_` and `aria_label` become `class` and `aria-label`; an attribute of None is omitted.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def paragraph(*content: Any, class_: str | None = None) -> Html:
    """A paragraph."""
    return tag("p", *content, class_=class_)


def items(lines: Iterable[Any]) -> Html:
    """An unordered list."""
    return tag("ul", *(tag("li", line) for line in lines))


def folded(summary: Any, *content: Any) -> Html:
    """Content that a click unfolds."""
    return tag("details", tag("summary", summary), *content)


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], *, words: Sequence[int] = (0,)) -> Html:
    """A table. Columns not in `words` hold numbers (right-aligned). A cell that is already a `<td>` is kept."""
    head = join(
        tag("th", cell, scope="col", class_=None if at in words else "number") for at, cell in enumerate(header)
    )
    body = join(tag("tr", *(_cell(cell, at, words) for at, cell in enumerate(row))) for row in rows)
    return tag("div", tag("table", tag("thead", tag("tr", head)), tag("tbody", body)), class_="table", tabindex=0)


def number(value: Any, digits: int = 3) -> str:
    """A number to `digits` significant digits with separated thousands; a dash if it is not a finite number.

    >>> number(13793.2), number(0.98432), number(-0.0000123), number(float("nan")), number(2048)
    ('13,793', '0.984', '−1.2e−5', '–', '2,048')
    """
    if value is None or not isfinite(value):
        return MISSING
    magnitude = abs(value)
    if magnitude == 0:
        return "0"
    if magnitude < 1e-3 or magnitude >= 1e7:
        mantissa, _, exponent = f"{value:.{digits - 2}e}".partition("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    if magnitude >= 10 ** (digits - 1) or value == int(value):
        return f"{value:,.0f}".replace("-", "−")
    decimals = digits - 1 - int(f"{magnitude:e}".partition("e")[2])
    return f"{value:.{decimals}f}".replace("-", "−")


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "layer"), plural(2048, "step")
    ('1 layer', '2,048 steps')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def fixed(value: Any, decimals: int = 2) -> str:
    """A score with a fixed number of decimals. Very low scores are rounded, to keep columns narrow."""
    if value is None or not isfinite(value):
        return MISSING
    shown = f"{value:.{decimals}f}" if abs(value) < 100 else f"{value:,.0f}"
    if abs(value) >= 1e6:
        shown = f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return shown.replace("-", "−")


def _cell(cell: Any, at: int, words: Sequence[int]) -> Html:
    if isinstance(cell, Html) and cell.startswith("<td"):
        return cell
    if at == 0:
        return tag("th", cell, scope="row", class_=None if at in words else "number")
    return tag("td", cell, class_=None if at in words else "number")
