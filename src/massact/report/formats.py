"""Numbers and names as the page and the terminal show them."""

from __future__ import annotations

from math import isfinite
from typing import Any

from massact.fit.forms import FORMS

MISSING = "–"
PARAMETER_NAMES = {
    "lambda": "λ",
    "gamma": "γ",
    "beta": "β",
    "tau": "τ",
    "tau0": "τ₀",
    "t0": "t₀",
    "A1": "A₁",
    "A2": "A₂",
    "zeta": "ζ",
    "omega": "ω",
}


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
    """A score with a fixed number of decimals. Scores of large magnitude are rounded, to keep columns narrow."""
    if value is None or not isfinite(value):
        return MISSING
    text = f"{value:.{decimals}f}" if abs(value) < 100 else f"{value:,.0f}"
    if abs(value) >= 1e6:
        text = f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return text.replace("-", "−")


def form_name(form: str) -> str:
    """The paper's name of a form."""
    return FORMS[form].title if form in FORMS else form


def target_name(target: str) -> str:
    """A readable name of a fit parameter or derived quantity."""
    return PARAMETER_NAMES.get(target, spaced(target).replace("f start", "f(0)").replace("f end", "f(T)"))


def spaced(name: str) -> str:
    """A name with spaces in place of underscores."""
    return name.replace("_", " ")
