"""What a suite trains: the members of its design, and ladders on which one thing varies alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from massact.architecture import Architecture
from massact.errors import TrainError

GRID = "grid"
# What a block costs besides its matrix products, as parameters: on one core a step of 1,024 tokens takes about
# 2.9 ms a block and 77 ns a parameter of it.
_BLOCK_OVERHEAD = 38_000


@dataclass(frozen=True)
class Member:
    """One training of a suite: an architecture of one part of it (`grid` or a ladder's name) and a seed."""

    family: str
    model: str
    part: str
    seed: int
    architecture: Architecture

    @property
    def name(self) -> str:
        """Name of its folder and in messages."""
        return f"{self.model}-seed{self.seed}"

    @property
    def cost(self) -> int:
        """Estimated time of an optimiser step, in units of its own; only ratios mean something."""
        a = self.architecture
        return a.n_layers * (_BLOCK_OVERHEAD + 4 * a.d_model**2 + 2 * a.d_model * a.d_mlp) + a.vocab_size * a.d_model


def ladder(
    family: str, name: str, architecture: Architecture, heads: Sequence[int], seeds: Sequence[int]
) -> list[Member]:
    """One architecture with its head count varied alone, everything else as it is."""
    return [
        Member(family, f"{family}-{name}-{count}", name, seed, replace(architecture, n_heads=count))
        for count in heads
        for seed in seeds
    ]


def grid(family: str, architectures: Sequence[Architecture], replicated: Sequence[int], seeds: int) -> list[Member]:
    """Every architecture with seed 0, the replicated ones (by index) with `seeds` seeds.

    Raises
    ------
    TrainError
        An index that is none.
    """
    for index in replicated:
        if not 0 <= index < len(architectures):
            raise TrainError(f"suite.replicated has {index}", f"give indices from 0 to {len(architectures) - 1}")
    return [
        Member(family, f"{family}-{index:03d}", GRID, seed, architecture)
        for index, architecture in enumerate(architectures)
        for seed in range(seeds if index in replicated else 1)
    ]
