"""The templates of the page. Every value is escaped unless it is `Markup`."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from massact.report.formats import fixed, form_name, number, plural, spaced, target_name


def render(template: str, **context: Any) -> str:
    """The text of `templates/<template>` for these values."""
    return _environment().get_template(template).render(context)


def code(text: str) -> Markup:
    """Text in the font of code."""
    return Markup("<code>{}</code>").format(text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("massact.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": fixed,
        "form": form_name,
        "number": number,
        "plural": plural,
        "spaced": spaced,
        "target": target_name,
    }
    return environment
