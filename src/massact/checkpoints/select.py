"""Select the steps of a model that a configuration asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from massact.errors import ConfigError

RULES = ("all", "spaced", "log", "list", "last")


def select_steps(
    available: Sequence[int], *, rule: str, count: int | None = None, steps: Sequence[int] | None = None, model: str
) -> list[int]:
    """Steps to measure, ascending, all of them available.

    Parameters
    ----------
    available
        Steps that exist, ascending.
    rule
        `all`; `last`: the last one; `list`: exactly `steps`; `log`: about `count` steps, evenly spaced in log step,
        with the first and the last; `spaced`: step 0 and the powers of two up to 512, then evenly spaced, `count` in
        total, as in the paper.

    Raises
    ------
    ConfigError
        An unknown rule, a missing count or list of steps that the rule needs, or a step that does not exist.

    >>> select_steps([0, 1, 2, 4, 8, 16, 32], rule="log", count=3, model="m")
    [0, 4, 32]
    """
    check_rule(rule=rule, count=count, steps=steps)
    if rule == "all":
        return list(available)
    if rule == "last":
        return list(available[-1:])
    if rule == "list":
        return _listed(available, steps or (), model)
    count = count or 0
    if count >= len(available):
        return list(available)
    if rule == "log":
        return _evenly(available, count, key=math.log1p)
    early = [step for step in available if step <= 512 and (step == 0 or step & (step - 1) == 0)]
    late = [step for step in available if step not in early]
    if count <= len(early) + 1 or available[-1] <= 512:
        return _evenly(available, count, key=math.log1p)
    return sorted(early + _evenly(late, count - len(early), key=float))


def check_rule(*, rule: str, count: int | None, steps: Sequence[int] | None) -> None:
    """Refuse a rule that is invalid for every model; errors as in `select_steps`."""
    if rule not in RULES:
        raise ConfigError(f"checkpoints.rule = {rule}", f"choose one of {', '.join(RULES)}")
    if rule == "list" and not steps:
        raise ConfigError("checkpoints=list without steps", "add checkpoints.steps=[0,512]")
    if rule not in ("all", "last", "list") and (count is None or count < 2):
        raise ConfigError(f"checkpoints.count = {count}", "give a number of at least 2")


def nearest(value: int, among: Sequence[int], n: int = 2) -> list[int]:
    """The `n` members of `among` nearest to `value`, ascending.

    >>> nearest(3000, [0, 512, 1000, 4000])
    [1000, 4000]
    """
    return sorted(sorted(among, key=lambda other: abs(other - value))[:n])


def _listed(available: Sequence[int], steps: Sequence[int], model: str) -> list[int]:
    for step in steps:
        if step not in available:
            near = " or ".join(map(str, nearest(step, available)))
            raise ConfigError(f"step {step} is not a checkpoint of {model}", f"nearest: {near}")
    return sorted(set(steps))


def _evenly(available: Sequence[int], count: int, key: Callable[[int], float]) -> list[int]:
    """`count` distinct members, as evenly spaced in `key` as the grid allows, with both ends."""
    low, high = key(available[0]), key(available[-1])
    chosen: list[int] = []
    rest = list(available)
    for k in range(count):
        target = low + (high - low) * k / (count - 1)
        best = min(rest, key=lambda step: (abs(key(step) - target), step))
        chosen.append(best)
        rest.remove(best)
    return sorted(chosen)
