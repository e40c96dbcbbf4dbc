"""Space-filling designs of architectures: all factors vary independently, as far as integers allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.architecture import Architecture
from massact.errors import ConfigError
from massact.space import HEAD_MULTIPLE, DesignSpace

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ("n_layers", "log2 d_model", "log2 n_heads", "log2 mlp_ratio", "rotary_fraction", "parallel_residual")


def design(space: DesignSpace, count: int, *, seed: int, vocab_size: int, context: int) -> list[Architecture]:
    """The first `count` distinct valid architectures along a scrambled Sobol sequence.

    A longer design begins with the shorter one, so that a suite can be extended. `best_seed` finds a good `seed`.

    Raises
    ------
    ConfigError
        When the space has fewer architectures.
    """
    architectures: dict[Architecture, None] = {}
    for point in _points(seed, limit=64 * count + 256):
        if len(architectures) == count:
            break
        architectures.setdefault(_architecture(space, point, vocab_size=vocab_size, context=context))
    if len(architectures) < count:
        raise ConfigError(
            f"the space has {len(architectures)} architectures, {count} were requested",
            "lower suite.architectures or widen suite.space",
        )
    return list(architectures)


def factors(architectures: Sequence[Architecture]) -> pd.DataFrame:
    """The columns of the design, one row per architecture, on the scales on which they are spread."""
    import pandas as pd

    rows = [
        (
            a.n_layers,
            math.log2(a.d_model),
            math.log2(a.n_heads),
            math.log2(a.d_mlp / a.d_model),
            a.rotary_fraction,
            float(a.parallel_residual),
        )
        for a in architectures
    ]
    return pd.DataFrame(rows, columns=list(FACTORS))


def largest_correlation(architectures: Sequence[Architecture]) -> float:
    """The largest |Pearson correlation| between two varying columns of the design."""
    columns = factors(architectures)
    varied = columns.loc[:, columns.max() > columns.min()].to_numpy()
    if varied.shape[1] < 2:
        return 0.0
    between = np.abs(np.corrcoef(varied, rowvar=False))
    return float(np.max(between - np.eye(len(between))))


def smallest_distance(architectures: Sequence[Architecture]) -> float:
    """The smallest distance between two architectures, with varying columns scaled to [0, 1] (maximin criterion)."""
    from scipy.spatial.distance import pdist

    columns = factors(architectures)
    span = columns.max() - columns.min()
    return float(pdist(((columns - columns.min()) / span.where(span > 0, 1.0)).to_numpy()).min())


def best_seed(
    space: DesignSpace, count: int, *, seeds: Sequence[int], correlation: float = 0.25
) -> tuple[int, float, float]:
    """Among scramblings with low correlations, find the one with the largest smallest distance.

    Returns
    -------
    The seed, its largest correlation and its smallest distance.

    Raises
    ------
    ConfigError
        When no seed has correlations below `correlation`.
    """
    best: tuple[float, int, float] | None = None
    for seed in seeds:
        architectures = design(space, count, seed=seed, vocab_size=512, context=32)
        largest = largest_correlation(architectures)
        if largest >= correlation:
            continue
        distance = smallest_distance(architectures)
        if best is None or distance > best[0]:
            best = (distance, seed, largest)
    if best is None:
        raise ConfigError(
            f"none of {len(seeds)} designs of {count} has correlations below {correlation}",
            "try more seeds or architectures",
        )
    return best[1], best[2], best[0]


def _points(seed: int, limit: int) -> Iterator[Float[ndarray, " factor"]]:
    from scipy.stats import qmc

    size = 2 ** math.ceil(math.log2(limit))  # a Sobol sequence is balanced only for powers of two
    yield from qmc.Sobol(len(FACTORS), scramble=True, rng=np.random.default_rng(seed)).random(size)


def _architecture(
    space: DesignSpace, point: Float[ndarray, " factor"], *, vocab_size: int, context: int
) -> Architecture:
    depth, width, heads, ratio, rotary, parallel = (float(u) for u in point)
    low, high = space.layers
    d_model = _nearest(space.widths(), _between(space.width, width))
    n_heads = _nearest(space.head_counts(d_model), _between(space.heads, heads))
    d_mlp = HEAD_MULTIPLE * round(_between(space.mlp_ratio, ratio) * d_model / HEAD_MULTIPLE)
    return Architecture(
        n_layers=min(high, low + int(depth * (high - low + 1))),
        d_model=d_model,
        n_heads=n_heads,
        d_mlp=d_mlp,
        vocab_size=vocab_size,
        context=context,
        rotary_fraction=_choice(space.rotary_fractions, rotary),
        parallel_residual=_choice(space.parallel_residual, parallel),
    )


def _between(ends: tuple[float, float] | tuple[int, int], share: float) -> float:
    """A value between the ends, evenly spread in the logarithm."""
    return math.exp(math.log(ends[0]) + share * (math.log(ends[1]) - math.log(ends[0])))


def _nearest(choices: Sequence[int], wanted: float) -> int:
    return min(choices, key=lambda c: (abs(math.log(c / wanted)), c))


def _choice(choices: Sequence[Any], share: float) -> Any:
    return choices[min(len(choices) - 1, int(share * len(choices)))]
