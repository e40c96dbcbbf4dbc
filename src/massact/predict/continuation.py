"""The forecast of a run in progress, from its architecture and its first measurements."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.architecture import Architecture
from massact.disk import input_bytes
from massact.errors import ConfigError, TableError
from massact.names import choice
from massact.predict.bands import HOLDS, POINT
from massact.predict.early import Deviations, after
from massact.predict.factors import SIZES
from massact.predict.forecasting import band_table, half_widths, recipe_of, recipes_of
from massact.predict.limits import beyond, caution_text, unused_text
from massact.predict.request import architecture_of, level_of, steps_of
from massact.predict.stored import Learned

if TYPE_CHECKING:
    import pandas as pd

SCATTER = 0.1  # natural log; chosen on held-out design points of the suite, where .05 to .2 do as well
UNLIKELY = 1e-4  # probability below which measurements are refused as those of another recipe
UNSTATED = {"", "own"}  # names of a recipe that nobody stated
_COLUMNS = ("step", "layer", "value")


def forecast_run(
    architecture: Architecture | Mapping[str, Any],
    measured: pd.DataFrame,
    *,
    recipe: str | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    level: float = 0.9,
    holds: str = POINT,
    artefact: Mapping[str, Any] | str | Path | None = None,
) -> pd.DataFrame:
    """Forecast the rest of a run: `forecast`, conditioned on the ratio measured so far.

    A layer's curve is normal around the architecture's forecast, with the covariance over steps of the deviations of
    held-out trainings. Bands are conformal quantiles of the residuals that those trainings leave when they, too, are
    measured at the same first steps.

    Parameters
    ----------
    measured
        Columns step, layer and value: the ratio of every layer at the same steps. Steps beyond the recipe's range are
        ignored.
    steps
        Steps to forecast, after the last measured one. None: three, from there to the end of the recipe.

    Returns
    -------
    As `forecast`. `.attrs["p"]` is the probability of measurements at least as far from the architecture's forecast.

    Raises
    ------
    ConfigError
        As `forecast`; and a step that is already measured, or measurements that do not follow the recipe.
    TableError
        `measured` is not such a table.
    """
    architecture, level, requested = architecture_of(architecture), level_of(level), steps_of(steps)
    choice("holds", holds, HOLDS)
    recipes = recipes_of(artefact)
    recipe = recipe_of(recipe, recipes)
    learned = recipes[recipe]
    at, log_values = _series(measured, architecture, learned)
    log_steps, log_at = np.log1p(learned.steps.astype(np.float64)), np.log1p(at.astype(np.float64))
    held_out = learned.held_out
    deviations = Deviations.of(log_steps, held_out.residuals, held_out.design, scatter=SCATTER)
    curves, p = deviations.condition(learned.log_curves(architecture), log_at, log_values)
    if p < UNLIKELY:
        raise ConfigError(
            f"the first {int(at[-1]):,} steps do not follow recipe {recipe} (p = {p:.1g})",
            f"a basis of one recipe misleads on another: name yours ({', '.join(sorted(recipes))}), or learn one with "
            "stage=predict",
        )
    outside = beyond(architecture, learned)
    left = after(held_out, log_steps, log_at, scatter=SCATTER)
    half = half_widths(left, level, holds, architecture) * (1 + max(outside.values(), default=0.0))
    table = band_table(learned, recipe, np.array(_future(requested, int(at[-1]), learned, recipe)), curves, half)
    caution = caution_text(architecture, recipe, learned, outside, level=level, banded=bool(np.isfinite(half).all()))
    table.attrs["caution"] = f"{caution} It is conditioned on the run's first {int(at[-1]):,} steps."
    table.attrs["outside"] = outside
    table.attrs["unused"] = unused_text(architecture, learned)
    table.attrs["p"] = p
    return table


@dataclass(frozen=True)
class Run:
    """The first measurements of a run.

    Attributes
    ----------
    measured
        Columns step, layer and value (the ratio).
    architecture, recipe
        As the file states them. None: it does not.
    """

    measured: pd.DataFrame
    architecture: Architecture | None
    recipe: str | None

    def recipe_in(self, artefact: Mapping[str, Any] | str | Path | None) -> str | None:
        """The run's own recipe, for `forecast_run`.

        Its name decides, because measurements do not tell similar recipes apart.

        Raises
        ------
        ConfigError
            The artefact was not learnt from the run's recipe.
        """
        known = recipes_of(artefact)
        if self.recipe is not None and self.recipe not in known:
            raise ConfigError(
                f"the run was trained by recipe {self.recipe}, which the forecast was not learnt from",
                f"a basis of one recipe misleads on another; to use one all the same: --recipe {sorted(known)[0]}",
            )
        return self.recipe


def read_run(path: str | Path) -> Run:
    """The measurements of a run in a file.

    Parameters
    ----------
    path
        A table of records (Parquet, as `massact measure`, stage=extract and live measurements write it), or a CSV file
        with columns step, layer and value (the ratio).

    Raises
    ------
    MissingInputError, TableError
        The file is missing, or is neither.
    """
    import pandas as pd

    path = Path(path)
    if path.suffix == ".parquet":
        from massact.tables import read_metadata, read_table
        from massact.trajectories import RECORDS, aggregate

        records = read_table(path, RECORDS)
        numbers = read_metadata(path).get("architecture")
        recipes = sorted({str(name) for name in records["recipe"].dropna().unique()} - UNSTATED)
        trajectories = aggregate(records)
        ratio: Any = trajectories[trajectories["quantity"] == "ratio"]
        return Run(
            ratio[list(_COLUMNS)].reset_index(drop=True),
            Architecture(**numbers) if numbers and all(numbers.get(name) is not None for name in SIZES) else None,
            recipes[0] if recipes else None,
        )
    content = input_bytes(path, "give a table of records, or a CSV file with columns step, layer, value")
    try:
        return Run(pd.read_csv(io.BytesIO(content)), None, None)
    except ValueError as error:  # those of the parser and of UTF-8 are ValueErrors
        why = " ".join(str(error).split())[:200]
        raise TableError(f"{path} is not a CSV ({why})", "give columns step, layer, value") from None


def _series(
    measured: pd.DataFrame, architecture: Architecture, learned: Learned
) -> tuple[ndarray, Float[ndarray, "layer measured"]]:
    """The measured steps within the recipe's range, and log ratios."""
    missing = [name for name in _COLUMNS if name not in measured.columns]
    if missing:
        raise TableError(f"the measurements have no column {', '.join(missing)}", "give step, layer and value")
    table: Any = measured[list(_COLUMNS)].astype(float)
    first, last = int(learned.steps[0]), int(learned.steps[-1])
    table = table[(table["step"] >= first) & (table["step"] <= last)]
    wide = table.pivot_table(index="layer", columns="step", values="value")
    if list(wide.index) != list(range(architecture.n_layers)):
        raise TableError(
            f"measurements of layers {_short(wide.index)}, but the architecture has {architecture.n_layers}",
            "give every layer, from 0",
        )
    values = wide.to_numpy()
    if not values.size or not (np.isfinite(values) & (values > 0)).all():
        raise TableError(
            "a layer has no positive ratio at a step that another layer has", "give every layer at the same steps"
        )
    return wide.columns.to_numpy(dtype=np.int64), np.log(values)


def _future(requested: list[int] | None, measured: int, learned: Learned, recipe: str) -> list[int]:
    last = int(learned.steps[-1])
    if requested is None:
        if measured >= last:
            raise ConfigError(
                f"recipe {recipe} ends at step {last:,}, which the run has reached", "nothing to forecast"
            )
        return sorted({int(step) for step in np.round(np.geomspace(measured + 1, last, 4))[1:]})
    for step in requested:
        if not measured < step <= last:
            raise ConfigError(f"step {step} cannot be forecast", f"give {measured + 1} to {last} (recipe {recipe})")
    return requested


def _short(values: Iterable[Any]) -> str:
    numbers = [f"{value:g}" for value in values]
    return ", ".join(numbers if len(numbers) < 6 else [*numbers[:3], "...", numbers[-1]])
