"""Many curves at once: one row a curve, from arrays or from a table of trajectories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from massact.errors import FitError
from massact.fit.checks import Numbers, check_steps, check_values, check_weights
from massact.fit.forms import get_form
from massact.fit.group import fit_group
from massact.fit.table import ARCHITECTURE, fits_schema

BATCH = 512  # curves between two movements of the progress bar
SERIES = ["family", "recipe", "model", "seed", "layer", "quantity"]


def fit_many(
    steps: Numbers,
    values: Float[np.ndarray, "curve step"],
    *,
    form: str = "eq9",
    weights: Numbers | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Fit one form to many series by a global search.

    Parameters
    ----------
    steps
        Optimiser steps (step,), ascending, not negative, in the raw count: t of the form.
    values
        One series a row. NaN or infinite values are missing.
    form
        A key of `FORMS`.
    weights
        Multiply residuals, as in lmfit: (step,) or (curve, step), not negative; 0 leaves a point out. Series that share
        weights and missing points are searched together, so weights per curve are slower.
    progress
        Show a progress bar on standard error.

    Returns
    -------
    DataFrame
        Column `curve` (0-based row of `values`) and those of `fits_schema(form)` from `n_points` to `status`.
        Parameters are finite and draw the curve whose sse is stated (`curve_values`), also where they are not
        determined: read `<name>_determined`, `regime` and `status` before quoting one. Series with no more points than
        parameters get a status and NaN. Standard errors assume independent residuals.

    Raises
    ------
    FitError
        Shapes that differ, steps that are negative, unsorted or repeated, negative weights, unknown form.

    >>> t = np.r_[0, 2.0 ** np.arange(12)]
    >>> row = fit_many(t, 3 + 2 * np.log1p(t / 20)[None] * np.exp(-t / 500), form="eq14").iloc[0]
    >>> round(float(row.beta), 6), round(float(row.tau0), 4), str(row.regime)
    (0.002, 20.0, 'peak_without_plateau')
    """
    get_form(form)
    t = check_steps(steps)
    y = check_values(values, t, "curve")
    w = check_weights(weights, y.shape)
    present = np.isfinite(y) & (w > 0)
    parts = [fit_group(form, t, y[:0], np.ones(t.size)).frame().assign(curve=np.zeros(0, dtype=np.int64))]
    for rows in _progress(list(_batches(present, w)), len(y), progress):
        kept = present[rows[0]]
        parts.append(fit_group(form, t[kept], y[np.ix_(rows, kept)], w[rows[0], kept]).frame().assign(curve=rows))
    out = pd.concat(parts[1:] or parts, ignore_index=True)
    names = list(fits_schema(form).columns)
    return out.sort_values("curve", ignore_index=True).loc[:, ["curve", *names[names.index("n_points") :]]]


def fit_table(
    trajectories: pd.DataFrame,
    architecture: Mapping[str, Any],
    form: str = "eq9",
    quantities: Sequence[str] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Fit every series of a table of trajectories (schema `TRAJECTORIES`) of models of one architecture.

    A series is one (family, recipe, model, seed, layer, quantity) over steps. `architecture` has the keys of
    `massact.fit.table.ARCHITECTURE` (others are ignored); `quantities` are those fitted, all when None. Returns a table
    of `fits_schema(form)`, validated.

    Raises
    ------
    FitError
        A key of the architecture missing, a quantity not in the table, a series with a step twice, unknown form.
    """
    get_form(form)
    missing = [name for name in ARCHITECTURE if name not in architecture]
    if missing:
        raise FitError(f"the architecture has no {', '.join(missing)}", "pass Architecture(...).as_dict()")
    known = sorted(set(trajectories["quantity"]))
    wanted = known if quantities is None else list(quantities)
    absent = [name for name in wanted if name not in known]
    if absent:
        raise FitError(f"the trajectories have no quantity {', '.join(absent)}", f"known: {', '.join(known)}")
    parts = []
    for steps, keys, values in _by_steps(trajectories.loc[trajectories["quantity"].isin(wanted)]):
        fits = fit_many(steps, values, form=form, progress=progress).drop(columns="curve")
        parts.append(pd.concat([keys, fits], axis=1))
    schema = fits_schema(form)
    if not parts:
        return schema.validate(pd.DataFrame(columns=pd.Index(schema.columns)))
    out = pd.concat(parts).sort_values(by=SERIES)
    return schema.validate(out.assign(form=form, **{name: architecture[name] for name in ARCHITECTURE}))


def _by_steps(trajectories: pd.DataFrame) -> Iterator[tuple[np.ndarray, pd.DataFrame, np.ndarray]]:
    """Series that share their steps: steps (step,), their keys (curve rows) and values (curve, step)."""
    grids: dict[bytes, tuple[np.ndarray, list[Any], list[np.ndarray]]] = {}
    for key, series in trajectories.sort_values(by=[*SERIES, "step"]).groupby(SERIES, sort=True):
        steps = series["step"].to_numpy(dtype=float)
        if np.any(np.diff(steps) == 0):
            at = steps[:-1][np.diff(steps) == 0][0]
            raise FitError(f"the series {key} has step {at:g} twice", "aggregate the records again")
        _, keys, values = grids.setdefault(steps.tobytes(), (steps, [], []))
        keys.append(key)
        values.append(series["value"].to_numpy(dtype=float))
    for steps, keys, values in grids.values():
        yield steps, pd.DataFrame(keys, columns=pd.Index(SERIES)), np.stack(values)


def _batches(present: np.ndarray, w: np.ndarray) -> Iterator[np.ndarray]:
    """Rows (curve,) that share present points and weights, `BATCH` at a time."""
    groups: dict[bytes, list[int]] = {}
    for row, (there, weight) in enumerate(zip(present, w, strict=True)):
        groups.setdefault(np.where(there, weight, 0.0).tobytes(), []).append(row)
    for rows in groups.values():
        for start in range(0, len(rows), BATCH):
            yield np.array(rows[start : start + BATCH])


def _progress(batches: list[np.ndarray], count: int, show: bool) -> Iterator[np.ndarray]:
    if not show:
        yield from batches
        return
    from tqdm import tqdm

    with tqdm(total=count, unit="curve", desc="fit") as bar:
        for rows in batches:
            yield rows
            bar.update(rows.size)
