"""Whole curves from the architecture: a low-rank basis of training curves, and a Gaussian process per coordinate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from massact.predict.curves import Curves, design_weights
from massact.predict.hierarchical_gp import HierarchicalGP


@dataclass(frozen=True)
class Basis:
    """An affine low-rank space of log curves.

    Attributes
    ----------
    log_steps : float (step,)
        log(1 + step).
    mean : float (step,)
        The mean log curve, each design point weighing the same.
    components : float (component, step)
        Orthonormal principal components of the curves around the mean, the most variable first.
    """

    log_steps: Float[ndarray, " step"]
    mean: Float[ndarray, " step"]
    components: Float[ndarray, "component step"]

    @classmethod
    def of(cls, curves: Curves, rank: int) -> Basis:
        """The first principal components of the curves. There are at most as many as rows or steps."""
        weights = design_weights(curves.design)
        mean = weights @ curves.log_values
        scaled = np.sqrt(weights)[:, None] * (curves.log_values - mean)
        _, _, components = np.linalg.svd(scaled, full_matrices=False)
        signs = np.sign(components[np.arange(len(components)), np.abs(components).argmax(axis=1)])
        return cls(curves.log_steps, mean, (components * signs[:, None])[:rank])

    def coordinates(self, log_values: Float[ndarray, "row step"]) -> Float[ndarray, "row component"]:
        """The least-squares coordinates of curves measured at all steps of the basis."""
        return (log_values - self.mean) @ self.components.T

    def curves(self, coordinates: Float[ndarray, "row component"]) -> Float[ndarray, "row step"]:
        """Log curves with these coordinates."""
        return self.mean + coordinates @ self.components


class CurveModel:
    """Log curves of layers from the numbers of their architectures.

    Parameters
    ----------
    rank
        Number of basis components.
    layer, optional
        As in `HierarchicalGP`.

    Attributes
    ----------
    basis : Basis
    processes : tuple of HierarchicalGP, one per component
    """

    def __init__(self, *, rank: int = 5, layer: tuple[int, ...] = (-1,), optional: tuple[int, ...] = ()) -> None:
        self.rank, self.layer, self.optional = rank, layer, optional

    def fit(self, x: Float[ndarray, "row feature"], curves: Curves) -> CurveModel:
        """Learn the basis and the processes from measured curves."""
        self.basis = Basis.of(curves, self.rank)
        self.processes = tuple(
            HierarchicalGP(layer=self.layer, optional=self.optional).fit(x, column, curves.training)
            for column in self.basis.coordinates(curves.log_values).T
        )
        return self

    def predict(self, x: Float[ndarray, "row feature"]) -> Float[ndarray, "row step"]:
        """Log curves at the steps of the training curves."""
        return self.basis.curves(np.column_stack([process.predict(x) for process in self.processes]))

    def held_out(self, groups: Int[ndarray, " row"]) -> Float[ndarray, "row step"]:
        """Log curves of the training rows, each group held out of the processes.

        The basis and the hyperparameters are those of all rows.
        """
        return self.basis.curves(np.column_stack([process.held_out(groups) for process in self.processes]))
