"""A Gaussian process over the layers of many architectures: architecture + layer + their product + training + noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin

from massact.predict.process import Kernels, Process

_JITTER = 1e-8  # of the standardised target's variance
_ITERATIONS = 80
# Priors of the hyperparameters' natural logarithms: mean and standard deviation. Targets are standardised, and so are
# the columns of the architecture; the layer's coordinates lie in [0, 1].
_ARCHITECTURE_LENGTH = (np.log(2.0), 1.0)
_LAYER_LENGTH = (np.log(0.4), 0.7)
_AMPLITUDES = ((np.log(0.7), 1.0), (np.log(0.7), 1.0), (np.log(0.4), 1.0))
_TRAINING = (np.log(0.25), 1.0)
_NOISE = (np.log(0.25), 1.0)
_WIDEST = 4.0  # standard deviations of the prior; beyond them a covariance may be singular


@dataclass(frozen=True)
class _Rows:
    """Standardised coordinates of rows: those of the architecture, and those of the layer."""

    architecture: Float[ndarray, "row factor"]
    layer: Float[ndarray, "row place"]


class HierarchicalGP(RegressorMixin, BaseEstimator):
    """Gaussian-process regression with the covariance of a designed set of trainings.

    The covariance of two layers is

        a1^2 k(x, x') + a2^2 k(l, l') + a3^2 k(x, x') k(l, l') + a4^2 [same training] + a5^2 [same row],

    where x are the columns of the architecture, l those of the layer and k is the squared exponential kernel with a
    length scale per column (Rasmussen and Williams 2006, chapters 4 and 5). The hyperparameters maximise the marginal
    likelihood times log-normal priors, which few rows need.

    Parameters
    ----------
    layer
        Columns that are coordinates of the layer, within [0, 1]. All others belong to the architecture.
    optional
        Columns of the architecture that may not matter. A process is fitted with every subset of them, and predictions
        are averaged with weights proportional to the marginal likelihood at the chosen hyperparameters.

    Attributes
    ----------
    weights_ : float (subset,)
        Weight of each subset of columns.
    fits_ : list
        The process of each subset.
    """

    def __init__(self, *, layer: Sequence[int] = (-1,), optional: Sequence[int] = ()) -> None:
        self.layer = layer
        self.optional = optional

    def fit(
        self,
        x: Float[ndarray, "row feature"],
        y: Float[ndarray, " row"],
        training: Int[ndarray, " row"] | None = None,
    ) -> HierarchicalGP:
        """Learn the hyperparameters.

        Parameters
        ----------
        training
            The number of each row's training. None: rows with the same architecture are of the same training.
        """
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self.n_features_in_ = x.shape[1]
        layer = sorted({column % x.shape[1] for column in self.layer})
        architecture = [column for column in range(x.shape[1]) if column not in layer]
        if training is None:
            training = np.unique(x[:, architecture], axis=0, return_inverse=True)[1].ravel()
        optional = {column % x.shape[1] for column in self.optional}
        always = [column for column in architecture if column not in optional]
        subsets = [
            sorted([*always, *chosen])
            for size in range(len(optional) + 1)
            for chosen in itertools.combinations(sorted(optional), size)
        ]
        self.fits_ = [_Fit(x, training, columns, layer).learn(y) for columns in subsets if columns or layer]
        evidence = np.array([fit.log_evidence for fit in self.fits_])
        weights = np.exp(evidence - evidence.max())
        self.weights_ = weights / weights.sum()
        return self

    def predict(self, x: Float[ndarray, "row feature"]) -> Float[ndarray, " row"]:
        """The mean for layers of trainings that were not measured."""
        x = np.asarray(x, dtype=np.float64)
        return self.weights_ @ np.stack([fit.predict(x) for fit in self.fits_])

    def held_out(self, groups: Int[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Prediction of each training row with all rows of its group held out, hyperparameters unchanged.

        In closed form: y_g - ((K^-1)_gg)^-1 (K^-1 y)_g (Rasmussen and Williams 2006, section 5.4.2, for blocks).
        """
        return self.weights_ @ np.stack([fit.held_out(groups) for fit in self.fits_])


class _Fit:
    """One Gaussian process: the columns it uses, its hyperparameters, and its covariance at the training rows."""

    def __init__(self, x: ndarray, training: ndarray, columns: list[int], layer: list[int]) -> None:
        self.columns, self.layer = columns, layer
        spread = x.std(axis=0)
        self.centre, self.spread = x.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)
        self.rows = self.coordinates(x)
        self.same = (training[:, None] == training[None]).astype(np.float64)

    def learn(self, y: ndarray) -> _Fit:
        """Choose the hyperparameters, and keep what predictions need."""
        mean, unit = float(y.mean()), float(y.std()) or 1.0
        self.target, prior = (y - mean) / unit, self.prior()
        best = minimize(
            self.objective,
            prior[:, 0],
            (self.target, prior),
            method="L-BFGS-B",
            jac=True,
            bounds=[(centre - _WIDEST * sd, centre + _WIDEST * sd) for centre, sd in prior],
            options={"maxiter": _ITERATIONS},
        )
        self.log_evidence = -float(best.fun)
        kernels, training, noise = self.parts(best.x)
        self.factor = self.factorised(self.terms(kernels, training), noise)
        self.process = Process(kernels, cho_solve(self.factor, self.target), mean, unit)
        return self

    def coordinates(self, x: ndarray) -> _Rows:
        standard = (x - self.centre) / self.spread
        return _Rows(standard[:, self.columns], x[:, self.layer])

    def prior(self) -> Float[ndarray, "hyperparameter 2"]:
        lengths = [_ARCHITECTURE_LENGTH] * len(self.columns) + [_LAYER_LENGTH] * (2 * len(self.layer))
        return np.array([*lengths, *_AMPLITUDES, _TRAINING, _NOISE])

    def parts(self, theta: ndarray) -> tuple[Kernels, float, float]:
        """The kernels of a vector of log hyperparameters, the training's amplitude, and the noise."""
        a, n = len(self.columns), len(self.layer)
        values = np.exp(theta)
        kernels = Kernels(values[:a], values[a : a + n], values[a + n : a + 2 * n], values[-5:-2])
        return kernels, float(values[-2]), float(values[-1])

    def terms(self, kernels: Kernels, training: float) -> list[ndarray]:
        x, z = self.rows.architecture, self.rows.layer
        return [*kernels.terms(x, z, x, z), training**2 * self.same]

    def factorised(self, terms: list[ndarray], noise: float) -> tuple[ndarray, bool]:
        return cho_factor(sum(terms) + (noise**2 + _JITTER) * np.eye(len(self.same)), lower=True)

    def objective(self, theta: ndarray, y: ndarray, prior: ndarray) -> tuple[float, ndarray]:
        """The negative log posterior of the hyperparameters, and its gradient."""
        kernels, training, noise = self.parts(theta)
        terms = self.terms(kernels, training)
        factor = self.factorised(terms, noise)
        alpha, inverse = cho_solve(factor, y), cho_solve(factor, np.eye(len(y)))
        away = (theta - prior[:, 0]) / prior[:, 1]
        value = 0.5 * y @ alpha + np.log(np.diag(factor[0])).sum() + 0.5 * away @ away
        weight = inverse - np.outer(alpha, alpha)
        by_architecture, by_layer, by_product = weight * (terms[0] + terms[2]), weight * terms[1], weight * terms[2]
        x, z = self.rows.architecture, self.rows.layer
        gradient = [
            *(0.5 * _moment(by_architecture, x[:, i]) / length**2 for i, length in enumerate(kernels.architecture)),
            *(0.5 * _moment(by_layer, z[:, i]) / length**2 for i, length in enumerate(kernels.layer)),
            *(0.5 * _moment(by_product, z[:, i]) / length**2 for i, length in enumerate(kernels.product)),
            *(np.sum(weight * term) for term in terms),
            noise**2 * np.trace(weight),
        ]
        return float(value), np.array(gradient) + away / prior[:, 1]

    def predict(self, x: ndarray) -> ndarray:
        new = self.coordinates(x)
        return self.process.at(new.architecture, new.layer, self.rows.architecture, self.rows.layer)

    def held_out(self, groups: ndarray) -> ndarray:
        inverse = cho_solve(self.factor, np.eye(len(self.target)))
        residual = np.empty(len(self.target))
        for group in np.unique(groups):
            at = np.flatnonzero(groups == group)
            residual[at] = np.linalg.solve(inverse[np.ix_(at, at)], self.process.alpha[at])
        return self.process.mean + self.process.unit * (self.target - residual)


def _moment(weight: ndarray, x: ndarray) -> float:
    """The sum of weight_ij (x_i - x_j)^2 for a symmetric weight."""
    return float(2 * (x**2) @ weight.sum(axis=1) - 2 * x @ weight @ x)
