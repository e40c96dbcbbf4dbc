"""The fit of one curve: the global search gives the start, lmfit refines it, and the result says what may be quoted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from massact.errors import FitError
from massact.fit.checks import (
    Numbers,
    check_choice,
    check_count,
    check_sequences,
    check_series,
    check_steps,
    check_weights,
    check_word_or_weights,
)
from massact.fit.curve import CurveFit
from massact.fit.engine.bins import count_of, thinned
from massact.fit.engine.robust import LOSSES, Loss, relative_weights
from massact.fit.forms import Form, get_form
from massact.fit.judgement.bootstrap import RESAMPLES, intervals_of, resampled_sequences, widening
from massact.fit.judgement.group import Group, describe, fit_group
from massact.fit.judgement.regimes import Doubt, Regime
from massact.fit.judgement.verdict import judged
from massact.fit.start import start_of
from massact.fit.status import FitStatus
from massact.fit.units import units_of

NO_WORSE = 1e-8  # lmfit's fit is used if its SSE exceeds the engine's by at most this share
NOT_GLOBAL = 1e-3  # share by which the SSE from the caller's parameters may exceed it before the status says so


def fit_series(
    steps: Numbers,
    values: Numbers,
    *,
    form: str = "eq9",
    sequences: Numbers | None = None,
    weights: Numbers | Literal["relative"] | None = None,
    loss: Loss | str = "squares",
    params: Any | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> CurveFit:
    """Fit one form to one series.

    Parameters
    ----------
    steps, values
        (step,) optimiser steps, ascending, and the series; NaN or infinite values are missing.
    form
        A key of `FORMS`.
    sequences
        (sequence, step): the series of each input sequence. Resampling them gives `.intervals`, and they sharpen the
        judgement of a plateau or a peak.
    weights
        Factors of the residuals (step,), as in lmfit; 0 leaves a point out. None gives uniform weights, as in the
        paper. "relative" gives 1 / |f| with f from a first fit, for noise in proportion to the curve.
    loss
        "huber" counts residuals beyond 1.345 standard deviations linearly, so that outliers pull the curve less.
    params
        lmfit Parameters named as the arguments of the form's function (`lam` for lambda): starting values, bounds,
        fixed values and expressions. A dict of names and numbers gives starting values only. By default the global
        search provides the start, which is almost always better.
    resamples, seed
        Number of resamples of the sequences, and the seed of the resampling.

    Raises
    ------
    FitError
        Shapes that differ; bad steps or weights; values that are not real numbers; an unknown form or loss; parameters
        that are missing, unknown or not numbers; no finite value; fewer than two sequences; no resamples; a negative
        seed.

    >>> t = np.r_[0, 2.0 ** np.arange(12)]
    >>> fit = fit_series(t, 3 + 2 * np.log1p(t / 20) * np.exp(-t / 500), form="eq14")
    >>> round(fit.params["tau0"].value, 3), round(fit.derived["peak_step"], 1)
    (20.0, 191.9)
    """
    chosen = get_form(form)
    loss = check_choice(loss, "loss", LOSSES)
    check_count(seed, "seed", 0)
    if sequences is not None:
        check_count(resamples, "resamples", 1)
    start = None if params is None else start_of(chosen, params)
    relative = check_word_or_weights(weights)
    t = check_steps(steps)
    y = check_series(values, t)
    w = check_weights(None if relative else weights, (1, t.size))[0]
    units = units_of(form, t, y[None], w[None])
    if not units.ordinary:
        if params is not None:
            raise FitError("params need values, weights and steps of ordinary size", "divide these by a constant")
        by_sequence = None if sequences is None else check_sequences(sequences, t.shape) / units.value[0]
        scaled = fit_series(
            t / units.step,
            y / units.value[0],
            form=form,
            sequences=by_sequence,
            weights="relative" if relative else w / units.weight,
            loss=loss,
            resamples=resamples,
            seed=seed,
        )
        return scaled.back(units, t, y)
    points = np.isfinite(y) & (w > 0)
    if not points.any():
        raise FitError(f"none of {t.size} values is finite with a weight above 0", "measure the series again")
    at, series, weight = t[points], y[points], w[points]
    if relative and at.size > len(chosen.parameters):
        weight = relative_weights(form, at, series[None], "auto")[0]
    group = engine = fit_group(form, at, series[None], weight, loss=loss)
    weight = np.broadcast_to(engine.weights, (1, at.size))[0] if at.size else weight
    sample = (at, series, weight)
    status, result = FitStatus[group.status[0].upper()], None
    if start is not None or status is FitStatus.OK:
        group, status, result = _polish(chosen, group, *sample, start)
    fitted = group.status[0] not in (FitStatus.FEW_POINTS, FitStatus.NO_FINITE_POINTS)
    estimate = {name: float(value[0]) for name, value in group.derived.items()}
    intervals: dict[str, tuple[float, float]] = {}
    by_sequence = None
    if sequences is not None:
        by_sequence = check_sequences(sequences, t.shape)[:, points]
        if np.isnan(by_sequence).any():
            raise FitError("a sequence has no value where the series has one", "leave that step out of both")
        thin = thinned(*sample, by_sequence)
        if thin.sequences is not None and fitted and np.isfinite(engine.rates).all():
            replicates = resampled_sequences(thin.y, thin.sequences, resamples=resamples, seed=seed)
            centre = replace(engine, derived=group.derived)
            intervals = intervals_of(centre, 0, thin.t, thin.w, thin.y, replicates, widening(len(by_sequence)))
    upper = np.array([intervals["peak_step"][1]]) if intervals else None
    of_curve = None if by_sequence is None else by_sequence[:, None]
    group = judged(group, at, series[None], sequences=of_curve, peak_upper=upper)
    parameters = result.params if result is not None else _parameters(chosen, group)
    names = chosen.parameters
    stderr = dict(zip(names, (float(value) for value in group.stderr[0]), strict=True))
    if result is not None:
        for name, argument in zip(names, chosen.arguments, strict=True):
            own = parameters[argument].stderr
            stderr[name] = float(own) if own and np.isfinite(own) else stderr[name]
    return CurveFit(
        form=form,
        steps=t,
        values=y,
        weights=_spread(weight, points),
        params=parameters,
        stderr=stderr,
        determined=dict(zip(names, (bool(value) for value in group.determined[0]), strict=True)),
        derived=estimate,
        intervals=intervals,
        regime=Regime[group.regime[0].upper()],
        peak_determined=bool(group.peak_determined[0]),
        doubts=tuple(Doubt(name) for name in group.doubts[0].split(", ") if name),
        status=status,
        sse=float(group.sse[0]),
        r2=float(group.r2[0]),
        n_points=int(points.sum()),
        bins=count_of(at),
        result=result,
    )


def _polish(
    form: Form, engine: Group, t: np.ndarray, y: np.ndarray, w: np.ndarray, params: Any | None
) -> tuple[Group, FitStatus, Any | None]:
    """lmfit's fit, started at `params` or at the engine's parameters; the engine's fit if lmfit's is worse."""
    from lmfit import Model, Parameters  # pyright: ignore[reportMissingTypeStubs]

    start: Any = params
    if start is None:
        start = Parameters()
        for name, value, scale in zip(form.arguments, engine.values[0], form.scales, strict=True):
            start.add(name, value=float(value), min=0.0 if scale else -np.inf)
    model: Any = Model(form.value, independent_vars=["t"], nan_policy="omit")
    try:
        result = model.fit(y, params=start, t=t, weights=w)
    except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError):
        return engine, FitStatus.ENGINE_KEPT, None
    values = np.array([[result.params[name].value for name in form.arguments]], dtype=float)
    lmfit = describe(form.name, t, y[None], w, values, np.array([str(FitStatus.OK)]), engine.rates)
    sse, best, total = float(lmfit.sse[0]), float(engine.sse[0]), float(np.sum((w * (y - y.mean())) ** 2))
    if params is not None and np.isfinite(sse):
        worse = np.isfinite(best) and sse > best * (1 + NOT_GLOBAL) + 1e-20 * total
        return lmfit, FitStatus.NOT_GLOBAL if worse else FitStatus.OK, result
    if np.isfinite(values).all() and sse <= best * (1 + NO_WORSE) + 1e-20 * total:
        return lmfit, FitStatus.OK, result
    return engine, FitStatus.ENGINE_KEPT, None


def _parameters(form: Form, group: Group) -> Any:
    """The engine's parameters as lmfit Parameters; those without a meaning at an edge have `vary=False`."""
    from lmfit import Parameters  # pyright: ignore[reportMissingTypeStubs]

    fixed = form.meaningless.get(group.status[0], frozenset())
    out: Any = Parameters()
    for j, (name, argument) in enumerate(zip(form.parameters, form.arguments, strict=True)):
        out.add(argument, value=float(group.values[0, j]), vary=name not in fixed)
        error = group.stderr[0, j]
        out[argument].stderr = float(error) if np.isfinite(error) else None
    return out


def _spread(weight: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Weights (step,): those of the fitted points, and 0 for the others."""
    out = np.zeros(points.size)
    out[points] = weight
    return out
