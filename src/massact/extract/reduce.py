"""Reduce a block's output to its largest magnitudes and its median magnitude."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from massact.errors import MeasureError


@dataclass(frozen=True)
class BlockReduction:
    """Top-k magnitudes of each sequence after one block, their flat indices, and the lower medians.

    All are tensors on the device of the hidden state, so that nothing waits for the device during the forward pass.
    `place` is position x width + dimension.
    """

    top: Float[Tensor, "sequence k"]
    place: Int[Tensor, "sequence k"]
    median: Float[Tensor, " sequence"]
    width: int


def reduce_block(hidden: Float[Tensor, "sequence position width"], top_k: int) -> BlockReduction:
    """Reduce a block's output to its largest magnitudes and its median magnitude, sequence by sequence.

    Parameters
    ----------
    hidden
        Block output after the residual sum, before any final norm; unitless. float16 and bfloat16 are compared
        exactly.
    top_k
        How many of the largest |h| to keep. Ties go to the lowest flat index (position first, then dimension).

    Returns
    -------
    BlockReduction
        float32. `median` is the LOWER median of all position x width magnitudes (Sun et al. 2024, torch.median).
        A NaN or infinite value anywhere in a sequence makes its `top[0]` NaN or infinite, and its median
        meaningless.

    Raises
    ------
    MeasureError
        When `top_k` is not between 1 and position x width.
    """
    _, positions, width = hidden.shape
    if not 1 <= top_k <= positions * width:
        raise MeasureError(f"top_k = {top_k}", f"give 1 to {positions * width} (positions x width)")
    signed = hidden.detach()
    if signed.device.type == "cpu":
        return _on_host(np.abs(signed.float().numpy()), top_k)
    return reduce_on_device(signed if signed.element_size() == 2 else signed.float(), top_k)


def _on_host(magnitudes: Float[ndarray, "sequence position width"], k: int) -> BlockReduction:
    """On one thread, in numpy: vectorised searches for the maximum, and a vectorised selection (docs/lab/cost.md).

    The array is overwritten. argmax returns the first of equal entries, and NaN before all others.
    """
    sequences, width = len(magnitudes), magnitudes.shape[2]
    flat, each = magnitudes.reshape(sequences, -1), np.arange(sequences)
    entries = flat.shape[1]
    top, place = np.empty((sequences, k), dtype=np.float32), np.empty((sequences, k), dtype=np.int64)
    for rank in range(k):
        place[:, rank] = flat.argmax(axis=1)
        top[:, rank] = flat[each, place[:, rank]]
        flat[each, place[:, rank]] = -1.0  # less than any magnitude: sorting puts the k largest first
    middle = _median_rank(entries)
    if middle < entries - k:
        flat.partition(middle + k, axis=1)
        median = flat[:, middle + k].copy()
    else:
        median = top[:, entries - 1 - middle].copy()
    return BlockReduction(torch.from_numpy(top), torch.from_numpy(place), torch.from_numpy(median), width)


def _median_rank(entries: int) -> int:
    """0-based rank of the lower median."""
    return (entries - 1) // 2


def reduce_on_device(hidden: Float[Tensor, "sequence position width"], k: int) -> BlockReduction:
    """The same by one stable sort of each sequence. Nothing is copied to the host and nothing waits.

    A GPU sorts millions of entries faster than it makes a histogram, in which many entries share a bin. It sorts 16-bit
    formats in half the time of float32 (docs/lab/cost.md).
    """
    sequences, _, width = hidden.shape
    order = hidden.abs().reshape(sequences, -1).sort(dim=1, descending=True, stable=True)
    entries = order.values.shape[1]
    median = order.values[:, entries - 1 - _median_rank(entries)]
    return BlockReduction(order.values[:, :k].float(), order.indices[:, :k], median.float(), width)
