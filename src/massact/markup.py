"""Short HTML of results, as notebooks show them (`_repr_html_`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_TALLEST_EM = 24


def html_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", note: str = "") -> str:
    """A title, a table that scrolls when it is tall, and a note. All text is escaped.

    >>> html_table(["layer"], [["<0>"]], title="m")
    '<div><b>m</b><div style="max-height:24em;overflow:auto"><table><thead><tr><th>layer</th></tr></thead>\
<tbody><tr><td>&lt;0&gt;</td></tr></tbody></table></div></div>'
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return (
        f"<div>{f'<b>{escape(title)}</b>' if title else ''}"
        f'<div style="max-height:{_TALLEST_EM}em;overflow:auto">{table}</div>'
        f"{f'<small>{escape(note)}</small>' if note else ''}</div>"
    )
