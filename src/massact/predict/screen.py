"""A forecast as text: what it rests on first, then a table that fits a terminal, or CSV."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from massact.architecture import Architecture
from massact.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

ROWS = 12  # with what comes before them they fit a terminal of 24 lines
COLUMNS = 80


def forecast_text(
    table: pd.DataFrame, architecture: Architecture, *, level: float, layers: Sequence[int] | None = None
) -> str:
    """Layers down, steps across; each cell is the value with its interval.

    Parameters
    ----------
    table
        What `forecast` gave.
    layers
        Those to show; None: at most `ROWS`, evenly from the first to the last.

    Raises
    ------
    ConfigError
        A layer that the architecture does not have.
    """
    shown = _layers(architecture.n_layers, layers)
    cells = {
        f"step {step:,}": [_cell(row) for row in rows.set_index("layer").loc[shown].to_dict("records")]
        for step, rows in table.groupby("step")
    }
    lines = [
        *(line for name in ("caution", "unused") for line in textwrap.wrap(table.attrs[name], COLUMNS)),
        f"Largest |h| over median |h| after each block (lower - upper at level {level:.6g}):",
        *_columns(["layer", *map(str, shown)], {name: [name, *column] for name, column in cells.items()}),
    ]
    if len(shown) < architecture.n_layers:
        lines.append(f"{len(shown)} of {architecture.n_layers:,} layers; all of them: --layers all")
    return "\n".join(lines)


def forecast_csv(table: pd.DataFrame, architecture: Architecture, *, layers: Sequence[int] | None = None) -> str:
    """One row a step and layer (None: every layer) as CSV, after comments (`#`) that say what the forecast rests on."""
    said = [f"# {table.attrs[name]}" for name in ("caution", "unused")]
    kept: Any = table if layers is None else table[table["layer"].isin(_layers(architecture.n_layers, layers))]
    return "\n".join([*said, kept.to_csv(index=False, float_format="%.6g").rstrip("\n")])


def _layers(n_layers: int, wanted: Sequence[int] | None) -> list[int]:
    if wanted is None:
        return np.unique(np.round(np.linspace(0, n_layers - 1, min(ROWS, n_layers))).astype(int)).tolist()
    for layer in wanted:
        if not 0 <= layer < n_layers:
            raise ConfigError(f"there is no layer {str(layer)[:30]}", f"give 0 to {n_layers - 1}, or all")
    return sorted(set(wanted))


def _cell(row: dict[Any, Any]) -> str:
    return f"{_ratio(row['value'])} ({_ratio(row['lower'])} - {_ratio(row['upper'])})"


def _ratio(value: float) -> str:
    """Three digits, as one writes them."""
    if value < 999.5:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


def _columns(first: Sequence[str], others: dict[str, list[str]]) -> list[str]:
    columns = [list(first), *others.values()]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]
