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
        Weight of each subset.
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
        self._processes = [_Process.learn(x, y, training, columns, layer) for columns in subsets if columns or layer]
        evidence = np.array([process.log_evidence for process in self._processes])
        weights = np.exp(evidence - evidence.max())
        self.weights_ = weights / weights.sum()
        return self

    def predict(self, x: Float[ndarray, "row feature"]) -> Float[ndarray, " row"]:
        """The mean for layers of trainings that were not measured."""
        x = np.asarray(x, dtype=np.float64)
        return sum(weight * process.predict(x) for weight, process in zip(self.weights_, self._processes, strict=True))

    def held_out(self, groups: Int[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Prediction of each training row with all rows of its group held out, hyperparameters unchanged.

        In closed form: y_g - ((K^-1)_gg)^-1 (K^-1 y)_g (Rasmussen and Williams 2006, section 5.4.2, for blocks).
        """
        return sum(
            weight * process.held_out(groups) for weight, process in zip(self.weights_, self._processes, strict=True)
        )


class _Process:
    """One Gaussian process with fixed columns and hyperparameters."""

    def __init__(
        self,
        columns: list[int],
        layer: list[int],
        centre: Float[ndarray, " feature"],
        spread: Float[ndarray, " feature"],
    ) -> None:
        self.columns, self.layer, self.centre, self.spread = columns, layer, centre, spread

    @classmethod
    def learn(cls, x: ndarray, y: ndarray, training: ndarray, columns: list[int], layer: list[int]) -> _Process:
        spread = x.std(axis=0)
        process = cls(columns, layer, x.mean(axis=0), np.where(spread > 1e-12, spread, 1.0))
        process.mean, process.unit = float(y.mean()), float(y.std()) or 1.0
        process.rows = process.coordinates(x)
        same = (training[:, None] == training[None]).astype(np.float64)
        target = (y - process.mean) / process.unit
        prior = process.prior()
        best = minimize(
            process.objective,
            prior[:, 0],
            (target, same, prior),
            method="L-BFGS-B",
            jac=True,
            bounds=[(mean - _WIDEST * sd, mean + _WIDEST * sd) for mean, sd in prior],
            options={"maxiter": _ITERATIONS},
        )
        process.theta, process.log_evidence = best.x, -float(best.fun)
        process.factor = cho_factor(process.covariance(same), lower=True)
        process.alpha, process.target = cho_solve(process.factor, target), target
        return process

    def coordinates(self, x: ndarray) -> _Rows:
        standard = (x - self.centre) / self.spread
        return _Rows(standard[:, self.columns], x[:, self.layer])

    def prior(self) -> Float[ndarray, "hyperparameter 2"]:
        lengths = [_ARCHITECTURE_LENGTH] * len(self.columns) + [_LAYER_LENGTH] * (2 * len(self.layer))
        return np.array([*lengths, *_AMPLITUDES, _TRAINING, _NOISE])

    def parts(self, theta: ndarray) -> tuple[ndarray, ndarray, ndarray, ndarray, float, float]:
        """Length scales of the architecture, of the layer and of the layer in the product; amplitudes; the rest."""
        a, n = len(self.columns), len(self.layer)
        values = np.exp(theta)
        return values[:a], values[a : a + n], values[a + n : a + 2 * n], values[-5:-2], values[-2], values[-1]

    def kernels(self, theta: ndarray, rows: _Rows, others: _Rows) -> tuple[ndarray, ndarray, ndarray]:
        lengths, layer, product, *_ = self.parts(theta)
        return (
            _squared_exponential(rows.architecture / lengths, others.architecture / lengths),
            _squared_exponential(rows.layer / layer, others.layer / layer),
            _squared_exponential(rows.layer / product, others.layer / product),
        )

    def covariance(self, same: ndarray) -> ndarray:
        """Of the training rows, with the training's effect and noise."""
        *_, amplitudes, training, noise = self.parts(self.theta)
        a, l, p = self.kernels(self.theta, self.rows, self.rows)  # noqa: E741
        smooth = amplitudes[0] ** 2 * a + amplitudes[1] ** 2 * l + amplitudes[2] ** 2 * a * p
        return smooth + training**2 * same + (noise**2 + _JITTER) * np.eye(len(same))

    def objective(self, theta: ndarray, y: ndarray, same: ndarray, prior: ndarray) -> tuple[float, ndarray]:
        """The negative log posterior of the hyperparameters, and its gradient."""
        lengths, layer, product, amplitudes, training, noise = self.parts(theta)
        a, l, p = self.kernels(theta, self.rows, self.rows)  # noqa: E741
        terms = [amplitudes[0] ** 2 * a, amplitudes[1] ** 2 * l, amplitudes[2] ** 2 * a * p, training**2 * same]
        eye = np.eye(len(y))
        factor = cho_factor(sum(terms) + (noise**2 + _JITTER) * eye, lower=True)
        alpha, inverse = cho_solve(factor, y), cho_solve(factor, eye)
        away = (theta - prior[:, 0]) / prior[:, 1]
        value = 0.5 * y @ alpha + np.log(np.diag(factor[0])).sum() + 0.5 * away @ away
        weight = inverse - np.outer(alpha, alpha)
        by_architecture, by_layer, by_product = weight * (terms[0] + terms[2]), weight * terms[1], weight * terms[2]
        x, z = self.rows.architecture, self.rows.layer
        gradient = [
            *(0.5 * _moment(by_architecture, x[:, i]) / lengths[i] ** 2 for i in range(len(lengths))),
            *(0.5 * _moment(by_layer, z[:, i]) / layer[i] ** 2 for i in range(len(layer))),
            *(0.5 * _moment(by_product, z[:, i]) / product[i] ** 2 for i in range(len(product))),
            *(np.sum(weight * term) for term in terms),
            noise**2 * np.trace(weight),
        ]
        return float(value), np.array(gradient) + away / prior[:, 1]

    def predict(self, x: ndarray) -> ndarray:
        *_, amplitudes, _, _ = self.parts(self.theta)
        a, l, p = self.kernels(self.theta, self.coordinates(x), self.rows)  # noqa: E741
        smooth = amplitudes[0] ** 2 * a + amplitudes[1] ** 2 * l + amplitudes[2] ** 2 * a * p
        return self.mean + self.unit * (smooth @ self.alpha)

    def held_out(self, groups: ndarray) -> ndarray:
        inverse = cho_solve(self.factor, np.eye(len(self.target)))
        residual = np.empty(len(self.target))
        for group in np.unique(groups):
            at = np.flatnonzero(groups == group)
            residual[at] = np.linalg.solve(inverse[np.ix_(at, at)], self.alpha[at])
        return self.mean + self.unit * (self.target - residual)


def _squared_exponential(x: ndarray, y: ndarray) -> ndarray:
    square = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.exp(-0.5 * np.maximum(square, 0.0))


def _moment(weight: ndarray, x: ndarray) -> float:
    """The sum of weight_ij (x_i - x_j)^2 for a symmetric weight."""
    return float(2 * (x**2) @ weight.sum(1) - 2 * x @ weight @ x)
