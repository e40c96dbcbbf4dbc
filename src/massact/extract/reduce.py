"""The one reducer: what is kept of a block's output."""

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
    """Top-k magnitudes of each sequence after one block, their flat places, and the lower medians.

    All are tensors on the device of the hidden state: nothing waits for the device until the forward pass is over.
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
        Block output after the residual sum, before any final norm; unitless. float16 and bfloat16 are compared in
        float32, which holds them exactly.
    top_k
        How many of the largest |h| to keep. Ties go to the lowest flat place (position first, then dimension).

    Returns
    -------
    BlockReduction
        float32. `median` is the LOWER median of all position x width magnitudes (Sun et al. 2024, torch.median).
        A NaN or infinite value anywhere in a sequence makes its `top[0]` NaN or infinite; its median then means
        nothing.

    Raises
    ------
    MeasureError
        When `top_k` is not between 1 and position x width.
    """
    _, positions, width = hidden.shape
    if not 1 <= top_k <= positions * width:
        raise MeasureError(f"top_k = {top_k}", f"give 1 to {positions * width} (positions x width)")
    signed = hidden.detach().float()
    if signed.device.type == "cpu":
        return _on_host(np.abs(signed.numpy()), top_k)
    return reduce_on_device(signed.abs(), top_k)


def _on_host(magnitudes: Float[ndarray, "sequence position width"], k: int) -> BlockReduction:
    """On one thread, by numpy: vectorised searches for the largest, and a vectorised selection (docs/measurements.md).

    The array is not left as it was. argmax gives the first of equal entries, and NaN before all others.
    """
    sequences, width = len(magnitudes), magnitudes.shape[2]
    flat, each = magnitudes.reshape(sequences, -1), np.arange(sequences)
    entries = flat.shape[1]
    top, place = np.empty((sequences, k), dtype=np.float32), np.empty((sequences, k), dtype=np.int64)
    for rank in range(k):
        place[:, rank] = flat.argmax(axis=1)
        top[:, rank] = flat[each, place[:, rank]]
        flat[each, place[:, rank]] = -1.0  # less than any magnitude: the k largest come first now
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


def reduce_on_device(magnitudes: Float[Tensor, "sequence position width"], k: int) -> BlockReduction:
    """The same by torch, in shapes known beforehand: nothing is copied to the host and nothing waits.

    The k largest entries of a sequence lie in the k positions that come first in order of (largest magnitude, lowest
    position): each position before that of an entry holds an entry that comes before it. So only k x width entries are
    sorted.
    """
    sequences, positions, width = magnitudes.shape
    rows = magnitudes.amax(dim=2).sort(dim=1, descending=True, stable=True).indices[:, : min(k, positions)]
    rows = rows.sort(dim=1).values
    candidates = magnitudes.gather(1, rows[:, :, None].expand(-1, -1, width)).reshape(sequences, -1)
    order = candidates.sort(dim=1, descending=True, stable=True)
    place = rows.gather(1, order.indices[:, :k] // width) * width + order.indices[:, :k] % width
    median = select_by_bits(magnitudes.reshape(sequences, -1), _median_rank(positions * width))
    return BlockReduction(order.values[:, :k], place, median, width)


def select_by_bits(values: Float[Tensor, "sequence entry"], rank: int) -> Float[Tensor, " sequence"]:
    """The entry of a rank in each row of non-negative float32 values, from two histograms of 16 bits each.

    Non-negative floats are ordered as their bits are: the upper half of the bits is found first, the lower half among
    the entries that share it. Every shape is known beforehand, so that a device need not be waited for.
    """
    bits = values.view(torch.int32)
    upper = (bits >> 16).long()
    high, below = _bin_of_rank(upper, torch.ones_like(bits), torch.full_like(upper[:, 0], rank))
    inside = (upper == high[:, None]).to(torch.int32)
    low, _ = _bin_of_rank((bits & 0xFFFF).long(), inside, rank - below)
    return ((high << 16) | low).to(torch.int32).view(torch.float32)


def _bin_of_rank(
    bins: Int[Tensor, "sequence entry"], weight: Int[Tensor, "sequence entry"], rank: Int[Tensor, " sequence"]
) -> tuple[Int[Tensor, " sequence"], Int[Tensor, " sequence"]]:
    """The bin (of 2^16) that holds the entry of a rank, and how many entries lie in lower ones."""
    counts = torch.zeros(bins.shape[0], 1 << 16, dtype=torch.int32, device=bins.device)
    total = counts.scatter_add_(1, bins, weight).cumsum(dim=1)
    found = (total <= rank[:, None]).sum(dim=1)
    before = torch.where(found > 0, total.gather(1, (found - 1).clamp(min=0)[:, None])[:, 0], 0)
    return found, before
