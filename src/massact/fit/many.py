"""Fits of many curves at once, from arrays or from a table of trajectories: one row per curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
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
from massact.fit.judgement.bootstrap import (
    BLOCK,
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

BATCH, RESAMPLED = 512, 16  # curves between updates of the progress bar: without and with intervals


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
        Optimiser steps (step,), ascending and not negative: the form's t, as raw counts.
    values
        One series per row. NaN and infinite values count as missing.
    form
        A key of `FORMS`.
    weights
        Factors of the residuals, as in lmfit: (step,) or (curve, step), not negative; 0 leaves a point out. None gives
        uniform weights, as in the paper. "relative" gives 1 / |f| with f from a first fit, for noise in proportion to
        the curve.
    loss
        "huber" counts residuals beyond 1.345 standard deviations linearly, so that outliers pull the curve less.
        `sse`, `r2` and the criteria then use the reduced weights of these points.
    sequences, intervals, resamples, seed
        `sequences` holds the series of each input sequence. Resampling them gives 95 % intervals of the derived
        quantities, widened because the sequences are few. Without them, `intervals` may be "residuals" (independent
        noise) or "blocks" (noise correlated over neighbouring steps). Both see the residuals of one curve only, and are
        too narrow for noise that all checkpoints share.
    path
        "numba" or "numpy" chooses the code that runs; both give the same fits. "auto" loads numba from 128 curves on.
    rivals
        Whether to fit other forms to the curves that claim a plateau, to see whether they agree. This takes a few ms
        per batch and up to 2 ms per curve. False judges a plateau by the curve's own residuals only.
    progress
        Whether to show a progress bar on standard error.

    Returns
    -------
    DataFrame
        Column `curve` (0-based row of `values`) and those of `fits_schema(form)` from `n_points` to `status`: about 50
        columns. Print `massact.fit.brief(table)` to read them: one line per curve.
        Parameters are finite and draw the curve whose `sse` is stated (`curve_values`), even where they are not
        determined: read `<name>_determined`, `regime` and `status` before quoting one. A series with no more points
        than parameters gets a status and NaN. Standard errors assume independent residuals.
        The search and the resampling of a series of more than 256 points use bins (`massact.fit.engine.bins`):
        `attrs["bins"]` gives their number for each number of points. Parameters, errors and criteria still use all
        points. Values, weights or steps near the limits of floating point are fitted in other units
        (`massact.fit.units`). `sse` is NaN where a double cannot hold it. The status says where doubles cannot hold the
        parameters.

    Raises
    ------
    FitError
        Shapes that differ; values that are not real numbers; negative, unsorted or repeated steps; negative weights;
        an unknown form, loss, kind of interval or path; fewer than two sequences; a sequence without a value where the
        series has one; no resamples; a negative seed.

    >>> t = np.r_[0, 2.0 ** np.arange(12)]
    >>> row = fit_many(t, 3 + 2 * np.log1p(t / 20)[None] * np.exp(-t / 500), form="eq14").iloc[0]
    >>> round(float(row.beta), 6), round(float(row.tau0), 4), str(row.regime)
    (0.002, 20.0, 'peak_without_plateau')
    """
    get_form(form)
    loss, path = check_choice(loss, "loss", LOSSES), check_choice(path, "path", PATHS)
    resampling = None if intervals is None else check_choice(intervals, "intervals", RESAMPLINGS)
    check_count(seed, "seed", 0)
    t = check_steps(steps)
    y = check_values(values, t, "curve")
    relative = check_word_or_weights(weights)
    w = check_weights(None if relative else weights, y.shape)
    by_sequence = None if sequences is None else check_sequences(sequences, y.shape)
    if resampling is None and by_sequence is not None:
        resampling = "sequences"
    if resampling == "sequences" and by_sequence is None:
        raise FitError("intervals over sequences need sequences", "give them, or choose residuals or blocks")
    if resampling is not None:
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
            sequences=None if by_sequence is None else by_sequence / by_curve,
            intervals=resampling,
            resamples=resamples,
            seed=seed,
            path=path,
            rivals=rivals,
            progress=progress,
        )
        return table_back(form, fits, units)
    present = np.isfinite(y) & (w > 0)
    parts = [_numbered(fit_group(form, t, y[:0], np.ones(t.size)), np.zeros(0, dtype=np.int64))]
    largest = max(1, min(BATCH if resampling is None else RESAMPLED, HELD // max(t.size, 1)))
    bins: dict[str, int] = {}
    for rows in _progress(list(_batches(present, largest)), len(y), progress):
        points = present[rows[0]]
        at, series, weight = t[points], y[np.ix_(rows, points)], _common(w[np.ix_(rows, points)])
        if relative and at.size > len(FORMS[form].parameters):
            weight = relative_weights(form, at, series, path)
        group = fit_group(form, at, series, weight, loss=loss, path=path)
        bounds, sample = None, None if by_sequence is None else by_sequence[:, rows][:, :, points]
        if resampling is not None:
            bounds = _intervals(group, at, series, sample, resampling, resamples, seed)
        upper = None if bounds is None else bounds["peak_step"][1]
        group = judged(group, at, series, sequences=sample, peak_upper=upper, rivals=rivals)
        parts.append(_numbered(group, rows, bounds))
        if count_of(at) < at.size:
            bins[str(at.size)] = count_of(at)
    fits = pd.concat(parts[1:] or parts, ignore_index=True)
    names = list(fits_schema(form).columns)
    columns = ["curve", *names[names.index("n_points") :]]
    out = cast("pd.DataFrame", fits.sort_values("curve", ignore_index=True).loc[:, columns])
    out.attrs["form"] = form
    if bins:
        out.attrs["bins"] = bins
    return out


def _numbered(
    group: Group, rows: np.ndarray, bounds: dict[str, tuple[np.ndarray, np.ndarray]] | None = None
) -> pd.DataFrame:
    """The table of a group, with the row of `values` that each curve has."""
    table = group.frame(bounds)
    table["curve"] = rows
    return table


def _intervals(
    group: Group,
    t: np.ndarray,
    y: np.ndarray,
    sequences: np.ndarray | None,
    resampling: Resampling,
    resamples: int,
    seed: int,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bounds (curve,) of every derived quantity of a group, NaN where a curve has none."""
    bounds = {name: (np.full(len(y), np.nan), np.full(len(y), np.nan)) for name in DERIVED}
    k = len(FORMS[group.form].parameters)
    for row in np.flatnonzero(np.isfinite(group.rates).all(axis=0)):
        weight = group.weights[row] if group.weights.ndim == 2 else group.weights
        sample = thinned(t, y[row], weight, None if sequences is None else sequences[:, row])
        if resampling == "sequences" and sample.sequences is not None:
            if np.isnan(sample.sequences).any():
                raise FitError(
                    f"a sequence of curve {row} has no value where the series has one", "leave that step out of both"
                )
            series = resampled_sequences(sample.y, sample.sequences, resamples=resamples, seed=seed)
            factor = widening(len(sample.sequences))
        else:
            block = BLOCK if resampling == "blocks" else 1
            curve = thinned(t, group.curve(int(row), t), weight).y
            series = resampled_residuals(sample.y, curve, sample.w, k, block=block, resamples=resamples, seed=seed)
            factor = student(sample.t.size - k)
        for name, (lower, upper) in intervals_of(group, int(row), sample.t, sample.w, sample.y, series, factor).items():
            bounds[name][0][row], bounds[name][1][row] = lower, upper
    return bounds


def _common(w: np.ndarray) -> np.ndarray:
    """Weights as (step,) if all curves share them, else as (curve, step)."""
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
    """Fit every series in a table of trajectories (schema `TRAJECTORIES`) of models that share an architecture.

    A series is one (family, recipe, model, seed, layer, [head,] quantity) over steps. `architecture` has the keys of
    `massact.fit.schemas.ARCHITECTURE`; other keys are ignored. `quantities` names those to fit; None fits all.
    `sequences`, from `massact.fit.sequences.sequence_series`, gives intervals from `resamples` resamples. Returns a
    validated table of `fits_schema(form)`; print `massact.fit.brief(table)` to read it.

    Raises
    ------
    FitError
        A missing column or key of the architecture, a quantity that is not in the table, a series with a repeated step,
        or an unknown form.
    """
    get_form(form)
    table: Any = trajectories  # pandas declares only part of its types
    absent = [name for name in (*AXES, "quantity", "step", "value") if name not in getattr(table, "columns", ())]
    if absent:
        raise FitError(f"the trajectories have no column {', '.join(absent)}", "pass a table of trajectories")
    missing = [name for name in ARCHITECTURE if name not in architecture]
    if missing:
        raise FitError(f"the architecture has no {', '.join(missing)}", "pass Architecture(...).as_dict()")
    known = sorted(set(table["quantity"]))
    fitted = known if quantities is None else list(quantities)
    absent = [name for name in fitted if name not in known]
    if absent:
        raise FitError(f"the trajectories have no quantity {', '.join(absent)}", f"known: {', '.join(known)}")
    resampled: Any = sequences if resamples > 0 else None
    if resampled is not None and len(set(resampled["sequence"])) < 2:
        resampled = None
    parts: list[pd.DataFrame] = []
    for steps, keys, values in _by_steps(table.loc[table["quantity"].isin(fitted)]):
        by_sequence = None if resampled is None else sequence_array(resampled, keys, steps)
        fits: Any = fit_many(
            steps, values, form=form, sequences=by_sequence, resamples=resamples, seed=seed, progress=progress
        )
        parts.append(pd.concat([keys, fits.drop(columns="curve")], axis=1))
    series = [*axes_in(trajectories), "quantity"]
    schema = fits_schema(form, per_head="head" in series)
    if not parts:
        return schema.validate(pd.DataFrame(columns=pd.Index(schema.columns)))
    out: Any = pd.concat(parts).sort_values(by=series)
    return schema.validate(out.assign(form=form, **{name: architecture[name] for name in ARCHITECTURE}))


def _by_steps(trajectories: pd.DataFrame) -> Iterator[tuple[np.ndarray, pd.DataFrame, np.ndarray]]:
    """Series grouped by their steps: the steps (step,), the keys (curve rows) and the values (curve, step)."""
    grids: dict[bytes, tuple[np.ndarray, list[Any], list[np.ndarray]]] = {}
    names = [*axes_in(trajectories), "quantity"]
    table: Any = trajectories.sort_values(by=[*names, "step"])
    for key, series in table.groupby(names, sort=True):
        steps: np.ndarray = series["step"].to_numpy(dtype=float)
        repeated = np.flatnonzero(np.diff(steps) == 0)
        if repeated.size:
            raise FitError(f"the series {key} has step {steps[repeated[0]]:g} twice", "aggregate the records again")
        _, keys, values = grids.setdefault(steps.tobytes(), (steps, [], []))
        keys.append(key)
        values.append(series["value"].to_numpy(dtype=float))
    for steps, keys, values in grids.values():
        yield steps, pd.DataFrame(keys, columns=pd.Index(names)), np.stack(values)


def _batches(present: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Rows (curve,) that have values at the same steps, at most `most` at a time."""
    groups: dict[bytes, list[int]] = {}
    for row, points in enumerate(present):
        groups.setdefault(points.tobytes(), []).append(row)
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
