"""A forecast as text: its cautions, then a table that fits a terminal, or CSV."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from massact.architecture import Architecture
from massact.errors import ConfigError
from massact.predict.bands import CURVE, POINT, TRAINING

if TYPE_CHECKING:
    import pandas as pd

ROWS = 12  # with the lines above they fit a terminal of 24 lines
COLUMNS = 80
_HOLDS = {
    POINT: "one layer at one step",
    CURVE: "all steps of one layer at once",
    TRAINING: "all layers and steps of one training at once",
}


def forecast_text(
    table: pd.DataFrame,
    architecture: Architecture,
    *,
    level: float,
    holds: str = POINT,
    layers: Sequence[int] | None = None,
) -> str:
    """A table with a row per layer and a column per step. Each cell is the value with its interval.

    Parameters
    ----------
    table
        The result of `forecast`.
    layers
        The layers to show. None: at most `ROWS`, evenly spaced from the first to the last.

    Raises
    ------
    ConfigError
        A layer that the architecture does not have.
    """
    visible_layers = _layers(architecture.n_layers, layers)
    cells = {
        f"step {step:,}": [_cell(row) for row in rows.set_index("layer").loc[visible_layers].to_dict("records")]
        for step, rows in table.groupby("step")
    }
    lines = [
        *(line for name in ("caution", "unused") for line in textwrap.wrap(table.attrs[name], COLUMNS)),
        "Largest |h| over median |h| after each block, and the band that holds",
        f"{_HOLDS[holds]} with probability {level:.6g}:",
        *_columns(["layer", *map(str, visible_layers)], {name: [name, *column] for name, column in cells.items()}),
    ]
    if len(visible_layers) < architecture.n_layers:
        lines.append(f"{len(visible_layers)} of {architecture.n_layers:,} layers; all of them: --layers all")
    return "\n".join(lines)


def forecast_csv(table: pd.DataFrame, architecture: Architecture, *, layers: Sequence[int] | None = None) -> str:
    """CSV with a row per step and layer (None: every layer), below the cautions as comments (`#`)."""
    comments = [f"# {table.attrs[name]}" for name in ("caution", "unused")]
    rows: Any = table if layers is None else table[table["layer"].isin(_layers(architecture.n_layers, layers))]
    return "\n".join([*comments, rows.to_csv(index=False, float_format="%.6g").rstrip("\n")])


def forecast_json(table: pd.DataFrame, architecture: Architecture, *, layers: Sequence[int] | None = None) -> str:
    """A JSON list with an object per step and layer. `upper` is null where it is infinite."""
    rows: Any = table if layers is None else table[table["layer"].isin(_layers(architecture.n_layers, layers))]
    return rows.assign(upper=rows["upper"].where(np.isfinite(rows["upper"]))).to_json(orient="records", indent=1)


def _layers(n_layers: int, chosen: Sequence[int] | None) -> list[int]:
    if chosen is None:
        return np.unique(np.round(np.linspace(0, n_layers - 1, min(ROWS, n_layers))).astype(int)).tolist()
    for layer in chosen:
        if not 0 <= layer < n_layers:
            raise ConfigError(f"there is no layer {str(layer)[:30]}", f"give 0 to {n_layers - 1}, or all")
    return sorted(set(chosen))


def _cell(row: dict[Any, Any]) -> str:
    return f"{_ratio(row['value'])} ({_ratio(row['lower'])} - {_ratio(row['upper'])})"


def _ratio(value: float) -> str:
    """A ratio to three significant digits."""
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
