"""The one reducer: what is kept of a layer's hidden state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from massact.errors import MeasureError

if TYPE_CHECKING:
    from numpy import ndarray


@dataclass(frozen=True)
class LayerReduction:
    """Top-k magnitudes of one sequence at one layer, where they are, and the lower median."""

    top: Float[ndarray, " k"]
    token: Int[ndarray, " k"]
    dimension: Int[ndarray, " k"]
    median: float


def reduce_layer(hidden: Float[Tensor, "position width"], top_k: int, *, layer: int) -> LayerReduction:
    """Reduce one sequence's hidden state to its largest magnitudes and its median magnitude.

    Parameters
    ----------
    hidden
        Block output after the residual sum, before any final norm; unitless.
    top_k
        How many of the largest |h| to keep. Ties go to the lowest flat index (position first, then dimension).
    layer
        0-based, for the error message only.

    Returns
    -------
    LayerReduction
        `median` is the LOWER median of all position x width magnitudes (Sun et al. 2024, torch.median).

    Raises
    ------
    MeasureError
        When a value is NaN or infinite: such a layer has no median.
    """
    width = hidden.shape[-1]
    flat = hidden.detach().abs().flatten()
    values = flat.topk(top_k).values
    if not bool(torch.isfinite(values).all()):
        raise MeasureError(
            f"layer {layer} holds NaN or infinite values in {str(hidden.dtype).removeprefix('torch.')}",
            "measure this checkpoint in float32",
        )
    order = _lowest_index_first(flat, values)
    median = flat.median()
    return LayerReduction(
        top=values.float().cpu().numpy(),
        token=(order // width).to(torch.int32).cpu().numpy(),
        dimension=(order % width).to(torch.int32).cpu().numpy(),
        median=float(np.float32(median.float().item())),
    )


def _lowest_index_first(flat: Float[Tensor, " n"], values: Float[Tensor, " k"]) -> Int[Tensor, " k"]:
    """Indices of the k largest entries; `topk` leaves open which of several equal ones it returns."""
    candidates = (flat >= values[-1]).nonzero().squeeze(-1)
    by_value = flat[candidates].argsort(descending=True, stable=True)
    return candidates[by_value[: len(values)]]
