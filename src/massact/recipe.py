"""What a training run is made of besides its architecture."""

from __future__ import annotations

import math
from dataclasses import dataclass

from massact.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule and data of a training run.

    Parameters
    ----------
    name
        Names the recipe in every table; curves of different recipes are never pooled on one step axis.
    steps, batch, window
        Optimiser steps, windows a step, tokens a window.
    first_token
        Id that every window begins with (0: <|endoftext|>); None: windows are cut from the text as it comes.
    learning_rate, warmup, final_fraction
        Peak rate; steps of linear warm-up; share of the peak at which the cosine ends.
    weight_decay, beta1, beta2, epsilon, clip
        AdamW (decay on matrices only) and the largest gradient norm.
    vocab_size
        Byte-level BPE tokens; the tokenizer is trained on the same works.
    checkpoints
        How many checkpoints to keep: step 0, powers of two, then evenly in log step.
    """

    name: str
    steps: int
    batch: int
    window: int
    learning_rate: float
    warmup: int
    final_fraction: float
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    clip: float
    vocab_size: int
    checkpoints: int
    first_token: int | None = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "window", "warmup", "checkpoints"):
            if getattr(self, name) < 1:
                raise ConfigError(f"recipe {self.name}: {name} = {getattr(self, name)} is below 1", f"give {name} >= 1")
        if self.window < 2:
            raise ConfigError(f"recipe {self.name}: window = {self.window} has nothing to predict", "give window >= 2")
        if self.vocab_size < 257:
            raise ConfigError(
                f"recipe {self.name}: vocab_size = {self.vocab_size} cannot hold 256 bytes and <|endoftext|>",
                "give vocab_size >= 257",
            )

    @property
    def tokens_per_step(self) -> int:
        """Tokens the model sees in one optimiser step."""
        return self.batch * self.window

    def learning_rate_at(self, step: int) -> float:
        """Rate used by the update that leads from `step` to `step + 1`: linear warm-up, then cosine."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * cosine)


def checkpoint_steps(steps: int, checkpoints: int) -> list[int]:
    """Step 0, powers of two up to 128 (or as far as they fit), then evenly in log step up to `steps`.

    >>> checkpoint_steps(512, 14)
    [0, 1, 2, 4, 8, 16, 32, 64, 128, 169, 223, 294, 388, 512]
    """
    knee = min(128, 2 ** int(math.log2(steps)))
    dense = [0] + [2**k for k in range(int(math.log2(knee)) + 1)]
    rest = checkpoints - len(dense)
    if rest < 1 or knee == steps:
        return sorted({*dense, steps})
    growth = (steps / knee) ** (1 / rest)
    return sorted({*dense, *(round(knee * growth**k) for k in range(1, rest)), steps})
