"""The rest of a run from its first steps: curves of other trainings, conditioned on what was measured so far."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import chdtrc

from massact.predict.bands import HeldOut
from massact.predict.curves import design_weights

MOST_POINTS = 200  # of a run that are conditioned on; more are averaged in bins of equal width in log step


@dataclass(frozen=True)
class Deviations:
    """How measured log curves deviate from predicted ones: normal, with mean 0 and a covariance over steps.

    Attributes
    ----------
    log_steps : float (step,)
        log(1 + step), ascending.
    covariance : float (step, step)
        Of the deviation of one layer's log curve.
    scatter : float
        Standard deviation of a measured log value that the covariance does not know: of other probes or sequences. It
        keeps the conditional mean from following every wiggle of the measurements.
    """

    log_steps: Float[ndarray, " step"]
    covariance: Float[ndarray, "step step"]
    scatter: float

    @classmethod
    def of(
        cls,
        log_steps: Float[ndarray, " step"],
        deviations: Float[ndarray, "row step"],
        design: Int[ndarray, " row"],
        *,
        scatter: float,
    ) -> Deviations:
        """The second moments of deviations of held-out design points, each of which weighs the same."""
        weighted = np.sqrt(design_weights(design))[:, None] * deviations
        return cls(log_steps, weighted.T @ weighted, scatter)

    def condition(
        self,
        predicted: Float[ndarray, "layer step"],
        log_steps: Float[ndarray, " measured"],
        log_values: Float[ndarray, "layer measured"],
    ) -> tuple[Float[ndarray, "layer step"], float]:
        """The expected log curves of a training's layers, given its first measurements.

        The conditional mean of a normal distribution, a layer at a time:
        m + C A' (A C A' + s^2 I)^-1 (y - A m), where A interpolates in log step.

        Parameters
        ----------
        predicted
            Log curves at the steps of the deviations, from the architecture or from a mean over trainings.
        log_steps
            log(1 + step) of the measurements, within the range of the deviations.

        Returns
        -------
        curves, p
            The curves, and the probability of measurements at least as far from the prediction: chi-squared on the
            squared Mahalanobis distances, the smallest over layers times their number. A small one says that the run
            follows another recipe.
        """
        log_steps, log_values = _binned(log_steps, log_values)
        interpolate = _interpolation(self.log_steps, log_steps)
        forward = interpolate @ self.covariance
        covariance = forward @ interpolate.T + self.scatter**2 * np.eye(len(log_steps))
        residual = log_values - predicted @ interpolate.T
        solved = np.linalg.solve(covariance, residual.T)
        distances = np.einsum("lm,ml->l", residual, solved)
        p = min(1.0, len(distances) * float(chdtrc(len(log_steps), distances.max())))
        return predicted + solved.T @ forward, p


def after(
    held_out: HeldOut,
    log_steps: Float[ndarray, " step"],
    measured: Float[ndarray, " measured"],
    *,
    scatter: float,
) -> HeldOut:
    """The residuals that are left when each held-out training is itself measured at the first steps.

    The covariance that a row is conditioned with leaves its design point out.

    Parameters
    ----------
    log_steps
        log(1 + step) of the residuals.
    measured
        log(1 + step) of the run's measurements.
    """
    at, _ = _binned(measured, np.empty((0, len(measured))))
    interpolate = _interpolation(log_steps, at)
    left = np.empty_like(held_out.residuals)
    for design in np.unique(held_out.design):
        mine = held_out.design == design
        others = Deviations.of(log_steps, held_out.residuals[~mine], held_out.design[~mine], scatter=scatter)
        observed = held_out.residuals[mine] @ interpolate.T
        curves, _ = others.condition(np.zeros((int(mine.sum()), len(log_steps))), at, observed)
        left[mine] = held_out.residuals[mine] - curves
    return replace(held_out, residuals=left)


def _interpolation(known: Float[ndarray, " step"], wanted: Float[ndarray, " other"]) -> Float[ndarray, "other step"]:
    """The matrix that interpolates linearly between values at known places."""
    return np.stack([np.interp(wanted, known, unit) for unit in np.eye(len(known))], axis=1)


def _binned(
    log_steps: Float[ndarray, " measured"], log_values: Float[ndarray, "layer measured"]
) -> tuple[Float[ndarray, " bin"], Float[ndarray, "layer bin"]]:
    if len(log_steps) <= MOST_POINTS:
        return log_steps, log_values
    edges = np.linspace(log_steps.min(), log_steps.max(), MOST_POINTS + 1)
    bins = np.clip(np.searchsorted(edges, log_steps, side="right") - 1, 0, MOST_POINTS - 1)
    _, number = np.unique(bins, return_inverse=True)
    counts = np.bincount(number)
    means = np.stack([np.bincount(number, row) / counts for row in [log_steps, *log_values]])
    return means[0], means[1:]
