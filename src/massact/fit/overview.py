"""A table of fits as readable text: one line per curve, showing only what may be quoted."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

from massact.errors import FitError
from massact.fit.judgement.regimes import Doubt, Regime, undetermined
from massact.fit.status import FitStatus

SHARED = ("family", "recipe")  # shown where the table has several
KEYS = ("curve", "model", "seed", "layer", "head", "quantity", "form")
NEEDED = ("r2", "f_start", "f_end", "peak_value", "peak_step", "peak_determined", "regime", "doubts", "status")
NOTHING = "-"
UNKNOWN = "not determined"


def brief(fits: pd.DataFrame) -> str:
    """A table of fits as text: one line per curve, then an explanation of the regimes, statuses and doubts in it.

    A line shows the keys of the curve, R2, regime, status, the values at the first and last step, the interior peak and
    the parameters. Every number shown may be quoted; "not determined" and "-" stand for numbers that may not.
    Parameters come with standard errors. The other numbers come with 95 % intervals in brackets if the table has them.

    Parameters
    ----------
    fits
        The table that `fit_many` or `fit_table` returns, or some of its rows.

    Raises
    ------
    FitError
        The table is not a table of fits.

    >>> import numpy as np
    >>> from massact.fit import fit_many
    >>> t = np.r_[0, 2.0 ** np.arange(12)]
    >>> fits = fit_many(t, (3 + 2 * np.log1p(t / 20) * np.exp(-t / 500))[None], form="eq14")
    >>> print(brief(fits).splitlines()[0])
    curve  form  R2       regime                status  start  end    peak                 parameters
    >>> print(brief(fits).splitlines()[1].partition("  A1")[0])
    0      eq14  1.00000  peak_without_plateau  ok      3      3.154  6.216 at step 191.9
    """
    missing = [name for name in NEEDED if name not in getattr(fits, "columns", ())]
    if missing:
        raise FitError(f"the table has no column {', '.join(missing)}", "pass a table from fit_many or fit_table")
    form = fits.attrs.get("form")
    table: Any = fits  # pandas declares only part of its types
    if form is not None and "form" not in table.columns:
        table = table.assign(form=form)
    keys = [name for name in SHARED if name in table.columns and len(set(table[name])) > 1]
    keys += [name for name in KEYS if name in table.columns]
    rows: list[dict[str, Any]] = table.to_dict("records")
    heads = [*keys, "R2", "regime", "status", "start", "end", "peak", "parameters"]
    cells = [[*(str(row[name]) for name in keys), *_cells(row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *cells)
    ]
    return "\n".join([*lines, "", *_explanations(rows)]).rstrip()


def _cells(row: dict[str, Any]) -> list[str]:
    """R2, regime, status, start, end, peak and quoted parameters of one fit."""
    regime, doubts = Regime(row["regime"]), _doubts(row)
    claim = f"{regime} ({', '.join(doubts)})" if doubts else str(regime)
    r2 = NOTHING if math.isnan(row["r2"]) else f"{row['r2']:.5f}"
    return [r2, claim, _status(row), *_values(row, regime, doubts), quoted_parameters(row)]


def _values(row: dict[str, Any], regime: Regime, doubts: tuple[Doubt, ...]) -> tuple[str, str, str]:
    """Start, end and peak."""
    if regime in (Regime.FAILED, Regime.FLAT):
        return NOTHING, NOTHING, NOTHING
    peaked = not math.isnan(row["peak_step"])
    unknown = undetermined(doubts, peaked=peaked, peak_determined=bool(row["peak_determined"]))
    end = UNKNOWN if "f_end" in unknown else _number(row, "f_end")
    if not peaked:
        peak = "none in range"
    elif "peak_step" in unknown:
        peak = UNKNOWN
    else:
        peak = f"{_number(row, 'peak_value')} at step {_number(row, 'peak_step')}"
    return _number(row, "f_start"), end, peak


def _number(row: dict[str, Any], name: str) -> str:
    """A derived quantity with its interval where the table has one."""
    lower, upper = (row.get(f"{name}_{bound}", math.nan) for bound in ("lower", "upper"))
    value = f"{row[name] + 0.0:.4g}"  # 0 in place of -0
    return value if math.isnan(lower) else f"{value} [{lower:.4g}, {upper:.4g}]"


def quoted_parameters(row: dict[str, Any]) -> str:
    """The determined parameters with their standard errors."""
    marks = {name.removesuffix("_determined"): value for name, value in row.items() if name.endswith("_determined")}
    quoted = [name for name, known in marks.items() if known and name in row]
    errors = {name: row.get(f"{name}_stderr", math.nan) for name in quoted}
    shown = [
        f"{name} {row[name]:.4g}" if math.isnan(errors[name]) else f"{name} {row[name]:.4g} +- {errors[name]:.2g}"
        for name in quoted
    ]
    return ", ".join(shown) or NOTHING


def _status(row: dict[str, Any]) -> str:
    """The name of the status, without the remedy that the table adds to it."""
    return str(row["status"]).partition(":")[0]


def _doubts(row: dict[str, Any]) -> tuple[Doubt, ...]:
    names = str(row["doubts"]).split(", ")
    return tuple(doubt for doubt in Doubt if str(doubt) in names)


def _explanations(rows: list[dict[str, Any]]) -> list[str]:
    """What the regimes, statuses and doubts of these rows mean, each once."""
    regimes = {str(row["regime"]) for row in rows}
    statuses = {_status(row) for row in rows} - {str(FitStatus.OK)}
    doubts = {doubt for row in rows for doubt in _doubts(row)}
    return [
        *(f"regime {regime}: {regime.text}" for regime in Regime if regime in regimes),
        *(f"status {status}: {status.text}" for status in FitStatus if status in statuses),
        *(f"doubt {doubt}: {doubt.text}" for doubt in Doubt if doubt in doubts),
    ]
