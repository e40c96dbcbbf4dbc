"""What a training run is made of besides its architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from massact.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW and its schedule.

    Parameters
    ----------
    learning_rate, warmup, final_fraction
        Peak rate; steps of linear warm-up; share of the peak at which the cosine ends.
    weight_decay, beta1, beta2, epsilon, clip
        Decay (on matrices only), AdamW's other numbers, and the largest gradient norm.
    """

    learning_rate: float
    warmup: int
    final_fraction: float
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    clip: float

    def __post_init__(self) -> None:
        if self.warmup < 1:
            raise ConfigError(f"optimiser.warmup = {self.warmup} is below 1", "give optimiser.warmup >= 1")


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
    optimiser
        None for a family that is trained elsewhere.
    vocab_size
        Byte-level BPE tokens; the tokenizer is trained on the same works. None for a family that is trained elsewhere.
    checkpoints
        How many checkpoints to keep: step 0, powers of two, then evenly in log step.

    Raises
    ------
    ConfigError
        Numbers by which nothing can be trained.
    """

    name: str
    steps: int
    batch: int
    window: int
    optimiser: Optimiser | None
    vocab_size: int | None
    checkpoints: int
    first_token: int | None = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "window", "checkpoints"):
            if getattr(self, name) < 1:
                raise ConfigError(f"recipe {self.name}: {name} = {getattr(self, name)} is below 1", f"give {name} >= 1")
        if self.window < 2:
            raise ConfigError(
                f"recipe {self.name}: window = {self.window} leaves nothing to predict", "give window >= 2"
            )
        if self.vocab_size is not None and self.vocab_size < 257:
            raise ConfigError(
                f"recipe {self.name}: vocab_size = {self.vocab_size} cannot hold 256 bytes and <|endoftext|>",
                "give vocab_size >= 257",
            )

    @property
    def tokens_per_step(self) -> int:
        """Tokens the model sees in one optimiser step."""
        return self.batch * self.window

    @property
    def training(self) -> Optimiser:
        """The optimiser of a family that is trained here; ConfigError for one that is not."""
        if self.optimiser is None:
            raise self._elsewhere()
        return self.optimiser

    @property
    def vocabulary(self) -> int:
        """The tokenizer's size in a family that is trained here; ConfigError for one that is not."""
        if self.vocab_size is None:
            raise self._elsewhere()
        return self.vocab_size

    def learning_rate_at(self, step: int) -> float:
        """Rate used by the update that leads from `step` to `step + 1`: linear warm-up, then cosine."""
        optimiser = self.training
        if step < optimiser.warmup:
            return optimiser.learning_rate * (step + 1) / optimiser.warmup
        done = (step - optimiser.warmup) / max(1, self.steps - optimiser.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return optimiser.learning_rate * (optimiser.final_fraction + (1 - optimiser.final_fraction) * cosine)

    def as_dict(self) -> dict[str, Any]:
        """All numbers in one mapping, as training logs and tables state them; `of_dict` reads it."""
        return {
            "name": self.name,
            "steps": self.steps,
            "batch": self.batch,
            "window": self.window,
            **asdict(self.training),
            "vocab_size": self.vocabulary,
            "checkpoints": self.checkpoints,
            "first_token": self.first_token,
        }

    @classmethod
    def of_dict(cls, numbers: Mapping[str, Any]) -> Recipe:
        """The recipe of `as_dict`'s mapping; TypeError where a number is missing or unknown."""
        names = {field.name for field in fields(Optimiser)}
        optimiser = Optimiser(**{name: value for name, value in numbers.items() if name in names})
        return cls(**{name: value for name, value in numbers.items() if name not in names}, optimiser=optimiser)

    def _elsewhere(self) -> ConfigError:
        return ConfigError(f"{self.name} is a recipe of models trained elsewhere", "choose a trained family's")


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
