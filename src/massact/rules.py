"""Rules that the tables of several rooms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from massact.tables import Rule

if TYPE_CHECKING:  # schemas are read by commands that must answer at once
    import numpy as np
    import pandas as pd

Metadata = Mapping[str, Any]


def at_least(smallest: int, *columns: str) -> tuple[Rule, ...]:
    """No value of these columns is smaller; null and NaN may be."""
    return tuple(_at_least(smallest, name) for name in columns)


def _at_least(smallest: int, name: str) -> Rule:
    return Rule((name,), lambda f, _: ~(f[name] < smallest), f"{name} is {smallest} or more")


def below_architecture(number: str, below: Callable[[pd.DataFrame], Any]) -> Callable[[pd.DataFrame, Metadata], Any]:
    """Whether a column is below a number of the row's architecture, where the metadata states that number."""

    def holds(frame: pd.DataFrame, metadata: Metadata) -> Any:
        import numpy as np

        stated = _stated(metadata, number)
        if not stated:
            return np.ones(len(frame), dtype=bool)
        limit = next(iter(stated.values()))
        if None not in stated:
            starts = starts_of_runs(frame, "model")
            limits = np.array([stated.get(model, np.inf) for model in frame["model"].to_numpy()[starts]], dtype=float)
            limit = np.repeat(limits, np.diff(np.append(starts, len(frame))))
        return below(frame) < limit

    return holds


def _stated(metadata: Metadata, number: str) -> dict[str | None, int]:
    """A number of the architectures that a table's metadata states, by model; by None of the only one."""
    entries = metadata.get("members") or metadata.get("models") or []
    architectures = {e.get("model"): e.get("architecture") for e in entries if isinstance(e, Mapping)}
    if isinstance(metadata.get("architecture"), Mapping):
        architectures = {None: metadata["architecture"]}
    numbers = {model: a.get(number) for model, a in architectures.items() if isinstance(a, Mapping)}
    return {model: value for model, value in numbers.items() if isinstance(value, int)}


def starts_of_runs(frame: pd.DataFrame, *names: str) -> np.ndarray:
    """Rows whose values differ from those of the row before them, the first one included."""
    import numpy as np

    change = np.zeros(len(frame), dtype=bool)
    change[:1] = True
    for name in names:
        values = frame[name].to_numpy()
        change[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(change)
