"""Many curves at once: one row a curve, from arrays or from a table of trajectories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from massact.errors import FitError
from massact.fit.checks import (
    Numbers,
    check_choice,
    check_count,
    check_sequences,
    check_steps,
    check_values,
    check_weights,
    check_word_or_weights,
)
from massact.fit.engine.bins import count_of, thinned
from massact.fit.engine.robust import LOSSES, Loss, relative_weights
from massact.fit.engine.search import HELD, PATHS, EnginePath
from massact.fit.forms import FORMS, get_form
from massact.fit.judgement.bootstrap import BLOCK as RESAMPLED_TOGETHER
from massact.fit.judgement.bootstrap import (
    RESAMPLES,
    RESAMPLINGS,
    Resampling,
    intervals_of,
    resampled_residuals,
    resampled_sequences,
    student,
    widening,
)
from massact.fit.judgement.group import Group, fit_group
from massact.fit.judgement.verdict import judged
from massact.fit.schemas import ARCHITECTURE, DERIVED, fits_schema
from massact.fit.sequences import AXES, axes_in, sequence_array
from massact.fit.units import table_back, units_of

BATCH, RESAMPLED = 512, 16  # curves between two movements of the progress bar, without and with intervals


def fit_many(
    steps: Numbers,
    values: Float[np.ndarray, "curve step"] | Numbers,
    *,
    form: str = "eq9",
    weights: Numbers | Literal["relative"] | None = None,
    loss: Loss | str = "squares",
    sequences: Float[np.ndarray, "sequence curve step"] | Numbers | None = None,
    intervals: Resampling | str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    path: EnginePath | str = "auto",
    rivals: bool = True,
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
        Multiply residuals, as in lmfit: (step,) or (curve, step), not negative; 0 leaves a point out. None is uniform,
        as in the paper; "relative" is 1 / |f| of a first fit f, for noise in proportion to the curve.
    loss
        "huber" counts residuals beyond 1.345 deviations linearly: a few wild points do not pull the curve along.
        `sse`, `r2` and the criteria are then of the points so weighted.
    sequences, intervals, resamples, seed
        `sequences` are the series of each input sequence: gives 95 % intervals of the derived quantities by resampling
        them, widened for their number. Without them `intervals` may be "residuals" (independent noise) or "blocks"
        (noise correlated over neighbouring steps): both see the residuals of one curve only and are too narrow for
        noise that all checkpoints share.
    path
        "numba" or "numpy" decide what code runs; both give the same fits. "auto" loads numba from 128 curves on.
    rivals
        Fit other forms to the curves that claim a plateau, to see whether they agree; takes a few ms for each batch and
        up to 2 ms a curve. False judges by the curve's own residuals only.
    progress
        Show a progress bar on standard error.

    Returns
    -------
    DataFrame
        Column `curve` (0-based row of `values`) and those of `fits_schema(form)` from `n_points` to `status`: about 50
        columns. Print `massact.fit.brief(table)` to read them: one line per curve.
        Parameters are finite and draw the curve whose sse is stated (`curve_values`), also where they are not
        determined: read `<name>_determined`, `regime` and `status` before quoting one. Series with no more points than
        parameters get a status and NaN. Standard errors assume independent residuals.
        Series of more than 256 points are searched, and resampled, in bins (`massact.fit.engine.bins`): `attrs["bins"]`
        then has their number by the number of points. Parameters, errors and criteria are of all points all the same.
        Values, weights or steps near the ends of floating point are fitted in other units (`massact.fit.units`); `sse`
        is NaN where no double holds it, and the status says where none holds the parameters.

    Raises
    ------
    FitError
        Shapes that differ, what is no real number, steps that are negative, unsorted or repeated, negative weights,
        unknown form, loss, intervals or path, fewer than two sequences, a sequence without a value where the series
        has one, no resamples, a negative seed.

    >>> t = np.r_[0, 2.0 ** np.arange(12)]
    >>> row = fit_many(t, 3 + 2 * np.log1p(t / 20)[None] * np.exp(-t / 500), form="eq14").iloc[0]
    >>> round(float(row.beta), 6), round(float(row.tau0), 4), str(row.regime)
    (0.002, 20.0, 'peak_without_plateau')
    """
    get_form(form)
    loss, path = check_choice(loss, "loss", LOSSES), check_choice(path, "path", PATHS)
    asked = None if intervals is None else check_choice(intervals, "intervals", RESAMPLINGS)
    check_count(seed, "seed", 0)
    t = check_steps(steps)
    y = check_values(values, t, "curve")
    relative = check_word_or_weights(weights)
    w = check_weights(None if relative else weights, y.shape)
    each = None if sequences is None else check_sequences(sequences, y.shape)
    how = asked or (None if each is None else "sequences")
    if how == "sequences" and each is None:
        raise FitError("intervals over sequences need sequences", "give them, or choose residuals or blocks")
    if how is not None:
        check_count(resamples, "resamples", 1)
    units = units_of(form, t, y, w)
    if not units.ordinary:
        by_curve = units.value[:, None]
        fits = fit_many(
            t / units.step,
            y / by_curve,
            form=form,
            weights="relative" if relative else w / units.weight,
            loss=loss,
            sequences=None if each is None else each / by_curve,
            intervals=how,
            resamples=resamples,
            seed=seed,
            path=path,
            rivals=rivals,
            progress=progress,
        )
        return table_back(form, fits, units)
    present = np.isfinite(y) & (w > 0)
    parts = [fit_group(form, t, y[:0], np.ones(t.size)).frame().assign(curve=np.zeros(0, dtype=np.int64))]
    together = max(1, min(BATCH if how is None else RESAMPLED, HELD // max(t.size, 1)))
    batches, searched = _batches(present, together), {}
    for rows in _progress(list(batches), len(y), progress):
        kept = present[rows[0]]
        at, series, weight = t[kept], y[np.ix_(rows, kept)], _common(w[np.ix_(rows, kept)])
        if relative and at.size > len(FORMS[form].parameters):
            weight = relative_weights(form, at, series, path)
        group = fit_group(form, at, series, weight, loss=loss, path=path)
        bounds, inside = None, None if each is None else each[:, rows][:, :, kept]
        if how is not None:
            bounds = _intervals(group, at, series, inside, how, resamples, seed)
        upper = None if bounds is None else bounds["peak_step"][1]
        group = judged(group, at, series, sequences=inside, peak_upper=upper, rivals=rivals)
        parts.append(group.frame(bounds).assign(curve=rows))
        if count_of(at) < at.size:
            searched[str(at.size)] = count_of(at)
    out = pd.concat(parts[1:] or parts, ignore_index=True)
    names = list(fits_schema(form).columns)
    out = out.sort_values("curve", ignore_index=True).loc[:, ["curve", *names[names.index("n_points") :]]]
    out.attrs["form"] = form
    if searched:
        out.attrs["bins"] = searched
    return out


def _intervals(
    group: Group,
    t: np.ndarray,
    y: np.ndarray,
    sequences: np.ndarray | None,
    how: Resampling,
    resamples: int,
    seed: int,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bounds (curve,) of every derived quantity of a group."""
    bounds = {name: (np.full(len(y), np.nan), np.full(len(y), np.nan)) for name in DERIVED}
    k = len(FORMS[group.form].parameters)
    for row in np.flatnonzero(np.isfinite(group.rates).all(axis=0)):
        weight = group.weights[row] if group.weights.ndim == 2 else group.weights
        few = thinned(t, y[row], weight, None if sequences is None else sequences[:, row])
        if how == "sequences" and few.sequences is not None:
            each = few.sequences
            if np.isnan(each).any():
                raise FitError(
                    f"a sequence of curve {row} has no value where the series has one", "leave that step out of both"
                )
            series = resampled_sequences(few.y, each, resamples=resamples, seed=seed)
            factor = widening(len(each))
        else:
            block = RESAMPLED_TOGETHER if how == "blocks" else 1
            drawn = thinned(t, group.curve(int(row), t), weight).y
            series = resampled_residuals(few.y, drawn, few.w, k, block=block, resamples=resamples, seed=seed)
            factor = student(few.t.size - k)
        for name, (lower, upper) in intervals_of(group, int(row), few.t, few.w, few.y, series, factor).items():
            bounds[name][0][row], bounds[name][1][row] = lower, upper
    return bounds


def _common(w: np.ndarray) -> np.ndarray:
    """Weights (step,) where all curves have the same, else (curve, step)."""
    return w[0] if (w == w[0]).all() else w


def fit_table(
    trajectories: pd.DataFrame,
    architecture: Mapping[str, Any],
    form: str = "eq9",
    quantities: Sequence[str] | None = None,
    progress: bool = False,
    *,
    sequences: pd.DataFrame | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit every series of a table of trajectories (schema `TRAJECTORIES`) of models of one architecture.

    A series is one (family, recipe, model, seed, layer, [head,] quantity) over steps. `architecture` has the keys of
    `massact.fit.schemas.ARCHITECTURE` (others are ignored); `quantities` are those fitted, all when None. `sequences`,
    from `massact.fit.sequences.sequence_series`, give intervals from `resamples` resamples of them. Returns a table of
    `fits_schema(form)`, validated; print `massact.fit.brief(table)` to read it.

    Raises
    ------
    FitError
        A column or a key of the architecture missing, a quantity not in the table, a series with a step twice,
        unknown form.
    """
    get_form(form)
    wanted_columns = (*AXES, "quantity", "step", "value")
    absent = [name for name in wanted_columns if name not in getattr(trajectories, "columns", ())]
    if absent:
        raise FitError(f"the trajectories have no column {', '.join(absent)}", "pass a table of trajectories")
    missing = [name for name in ARCHITECTURE if name not in architecture]
    if missing:
        raise FitError(f"the architecture has no {', '.join(missing)}", "pass Architecture(...).as_dict()")
    known = sorted(set(trajectories["quantity"]))
    wanted = known if quantities is None else list(quantities)
    absent = [name for name in wanted if name not in known]
    if absent:
        raise FitError(f"the trajectories have no quantity {', '.join(absent)}", f"known: {', '.join(known)}")
    parts = []
    several = sequences is not None and len(set(sequences["sequence"])) > 1 and resamples > 0
    for steps, keys, values in _by_steps(trajectories.loc[trajectories["quantity"].isin(wanted)]):
        each = sequence_array(sequences, keys, steps) if sequences is not None and several else None
        fits = fit_many(
            steps, values, form=form, sequences=each, resamples=resamples, seed=seed, progress=progress
        ).drop(columns="curve")
        parts.append(pd.concat([keys, fits], axis=1))
    series = [*axes_in(trajectories), "quantity"]
    schema = fits_schema(form, per_head="head" in series)
    if not parts:
        return schema.validate(pd.DataFrame(columns=pd.Index(schema.columns)))
    out = pd.concat(parts).sort_values(by=series)
    return schema.validate(out.assign(form=form, **{name: architecture[name] for name in ARCHITECTURE}))


def _by_steps(trajectories: pd.DataFrame) -> Iterator[tuple[np.ndarray, pd.DataFrame, np.ndarray]]:
    """Series that share their steps: steps (step,), their keys (curve rows) and values (curve, step)."""
    grids: dict[bytes, tuple[np.ndarray, list[Any], list[np.ndarray]]] = {}
    names = [*axes_in(trajectories), "quantity"]
    for key, series in trajectories.sort_values(by=[*names, "step"]).groupby(names, sort=True):
        steps = series["step"].to_numpy(dtype=float)
        if np.any(np.diff(steps) == 0):
            at = steps[:-1][np.diff(steps) == 0][0]
            raise FitError(f"the series {key} has step {at:g} twice", "aggregate the records again")
        _, keys, values = grids.setdefault(steps.tobytes(), (steps, [], []))
        keys.append(key)
        values.append(series["value"].to_numpy(dtype=float))
    for steps, keys, values in grids.values():
        yield steps, pd.DataFrame(keys, columns=pd.Index(names)), np.stack(values)


def _batches(present: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Rows (curve,) that share present points, at most so many at a time."""
    groups: dict[bytes, list[int]] = {}
    for row, there in enumerate(present):
        groups.setdefault(there.tobytes(), []).append(row)
    for rows in groups.values():
        for start in range(0, len(rows), most):
            yield np.array(rows[start : start + most])


def _progress(batches: list[np.ndarray], count: int, show: bool) -> Iterator[np.ndarray]:
    if not show:
        yield from batches
        return
    from tqdm import tqdm

    with tqdm(total=count, unit="curve", desc="fit") as bar:
        for rows in batches:
            yield rows
            bar.update(rows.size)
