"""The members of a suite: the architectures of its design, and ladders on which a single factor varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from massact.architecture import Architecture
from massact.errors import TrainError

GRID = "grid"
# The cost of a block besides its matrix products, expressed in parameters: on one core a step of 1,024 tokens takes
# about 2.9 ms per block and 77 ns per parameter of the block.
_BLOCK_OVERHEAD = 38_000


@dataclass(frozen=True)
class Member:
    """One training of a suite: an architecture from one part of it (`grid` or a ladder's name) and a seed."""

    family: str
    model: str
    part: str
    seed: int
    architecture: Architecture

    @property
    def name(self) -> str:
        """Its name in messages, and the name of its folder."""
        return f"{self.model}-seed{self.seed}"

    @property
    def cost(self) -> int:
        """Estimated time of an optimiser step, in arbitrary units."""
        a = self.architecture
        return a.n_layers * (_BLOCK_OVERHEAD + 4 * a.d_model**2 + 2 * a.d_model * a.d_mlp) + a.vocab_size * a.d_model


def ladder(
    family: str, name: str, architecture: Architecture, heads: Sequence[int], seeds: Sequence[int]
) -> list[Member]:
    """One architecture with several head counts; nothing else varies."""
    return [
        Member(family, f"{family}-{name}-{count}", name, seed, replace(architecture, n_heads=count))
        for count in heads
        for seed in seeds
    ]


def grid(family: str, architectures: Sequence[Architecture], replicated: Sequence[int], seeds: int) -> list[Member]:
    """Every architecture with seed 0; those whose index is in `replicated` with `seeds` seeds.

    Raises
    ------
    TrainError
        An index out of range.
    """
    for index in replicated:
        if not 0 <= index < len(architectures):
            raise TrainError(f"suite.replicated has {index}", f"give indices from 0 to {len(architectures) - 1}")
    return [
        Member(family, f"{family}-{index:03d}", GRID, seed, architecture)
        for index, architecture in enumerate(architectures)
        for seed in range(seeds if index in replicated else 1)
    ]
