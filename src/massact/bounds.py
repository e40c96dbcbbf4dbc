"""The numbers a configuration may hold: one row a key, checked before any work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from massact.errors import ConfigError


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest value, both allowed unless `above`: then the value lies above `low`."""

    low: float
    high: float
    hint: str = ""
    above: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number lies inside; NaN never does."""
        inside = self.low < value if self.above else self.low <= value
        return bool(math.isfinite(value) and inside and value <= self.high)

    def __str__(self) -> str:
        if self.hint:
            return self.hint
        low, high = (f"{end:,.12g}" for end in (self.low, self.high))
        return f"give more than {low}, at most {high}" if self.above else f"give {low} to {high}"


_LAYERS, _WIDTH, _HEADS, _MLP = (Bounds(1, high) for high in (1_000, 1e6, 1e5, 1e7))
_SHARE, _SEED, _COUNT = Bounds(0, 1), Bounds(0, 2**32 - 1), Bounds(1, 1e9)
_RECIPE = {
    "steps": _COUNT,
    "batch": Bounds(1, 1e7),
    "window": Bounds(2, 1e7),
    "first_token": Bounds(0, 1e7),
    "checkpoints": Bounds(1, 1e6),
    "vocab_size": Bounds(257, 1e7, "give at least 257: 256 bytes and <|endoftext|>"),
    "optimiser.learning_rate": Bounds(0, 10, above=True),
    "optimiser.warmup": _COUNT,
    "optimiser.final_fraction": _SHARE,
    "optimiser.weight_decay": Bounds(0, 1_000),
    "optimiser.beta1": Bounds(0, 0.999999),
    "optimiser.beta2": Bounds(0, 0.999999999),
    "optimiser.epsilon": Bounds(0, 1, above=True),
    "optimiser.clip": Bounds(0, 1e6, above=True),
}
# `*` stands for one name of a mapping; each member of a list is checked; null is not checked.
BOUNDS: dict[str, Bounds] = {
    "model.seed": Bounds(0, 2**32 - 1, "give 0 (the standard release) or a positive seed"),
    "model.architecture.n_layers": _LAYERS,
    "model.architecture.d_model": _WIDTH,
    "model.architecture.n_heads": _HEADS,
    "model.architecture.d_mlp": _MLP,
    "model.architecture.vocab_size": Bounds(1, 1e7),
    "model.architecture.context": Bounds(1, 1e7),
    "model.architecture.rotary_fraction": _SHARE,
    "model.architecture.rotary_base": Bounds(0, 1e12, above=True),
    "model.probe.first_token": Bounds(0, 1e7),
    **{f"model.recipe.{name}": bounds for name, bounds in _RECIPE.items()},
    "checkpoints.count": Bounds(2, 1e6),
    "checkpoints.steps": Bounds(0, 1e15),  # an axis may count tokens
    "probe.sequences": Bounds(1, 1e5, "give at least 1; the paper has 10"),
    "probe.held_out_works": Bounds(1, 1e4),
    "probe.documents": Bounds(1, 1e6),
    "probe.document_seed": _SEED,
    "sweep.prefetch": Bounds(0, 1_000, "give 0 (none) or more, at most 1,000"),
    "sweep.disk_gb": Bounds(0, 1e6, above=True),
    "sweep.sequences_at_once": Bounds(1, 1e6, "give at least 1, or null"),
    "sweep.patience_s": Bounds(0, 1e7, "give 0 (none) or more seconds"),
    "sweep.bandwidth_mb_s": Bounds(0, 1e9, above=True),
    "fit.resamples": Bounds(0, 1e5, "give 0 for no intervals, or a few hundred"),
    "predictor.folds": Bounds(2, 1e4, "give at least 2: each fold is predicted from the others"),
    "predictor.seed": _SEED,
    "predictor.forecast.anchors": Bounds(2, 10_000),
    "predictor.forecast.rank": Bounds(1, 100),
    "train.threads": Bounds(1, 1_024),
    "suite.architectures": Bounds(1, 10_000),
    "suite.seed": _SEED,
    "suite.replicated": Bounds(0, 1e6),
    "suite.replicates": Bounds(1, 1_000),
    "suite.measured": Bounds(1, 1e6),
    "suite.worker": Bounds(0, 1e6),
    "suite.space.layers": _LAYERS,
    "suite.space.width": _WIDTH,
    "suite.space.width_multiple": Bounds(1, 1e6),
    "suite.space.heads": _HEADS,
    "suite.space.mlp_ratio": Bounds(0, 1_000, above=True),
    "suite.space.rotary_fractions": _SHARE,
    "suite.ladders.*.n_layers": _LAYERS,
    "suite.ladders.*.d_model": _WIDTH,
    "suite.ladders.*.d_mlp": _MLP,
    "suite.ladders.*.rotary_fraction": _SHARE,
    "suite.ladders.*.n_heads": _HEADS,
    **{f"suite.recipe.{name}": bounds for name, bounds in _RECIPE.items()},
    "published.sequences": Bounds(1, 1e5),
    "ledger.share": _SHARE,
}


def check_bounds(config: Any) -> None:
    """Hold every number of a configuration, as nested dicts, to its row of `BOUNDS`.

    Raises
    ------
    ConfigError
        The first number outside, with what is allowed; an empty list of a ladder's heads.
    """
    for key, bounds in BOUNDS.items():
        for name, value in _found(config, key.split("."), ""):
            if isinstance(value, list) and not value and key.endswith("n_heads"):
                raise ConfigError(f"{name} = []", "give at least one number of heads")
            for number in value if isinstance(value, list) else [value]:
                if _is_number(number) and not bounds.holds(number):
                    raise ConfigError(f"{name} = {value}", str(bounds))


def numbers_of(config: Any, prefix: str = "") -> Iterator[str]:
    """Keys of all settings that hold numbers, with `*` for names of a mapping."""
    for name, value in vars(config).items():
        if is_dataclass(value):
            yield from numbers_of(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            for inner in value.values():
                yield from numbers_of(inner, f"{prefix}{name}.*.") if is_dataclass(inner) else ()
        elif any(_is_number(v) for v in (value if isinstance(value, list | tuple) else [value])):
            yield f"{prefix}{name}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _found(node: Any, parts: list[str], name: str) -> Iterator[tuple[str, Any]]:
    """Every value that a key stands for, with its full name; nothing if a part of the path is null."""
    if node is None or (parts and not isinstance(node, dict)):
        return
    if not parts:
        yield name.removesuffix("."), node
    elif parts[0] == "*":
        for key, inner in node.items():
            yield from _found(inner, parts[1:], f"{name}{key}.")
    else:
        yield from _found(node.get(parts[0]), parts[1:], f"{name}{parts[0]}.")
