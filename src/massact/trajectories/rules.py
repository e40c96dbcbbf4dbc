"""Rules of the tables of measurements: what no measurement of |h| can give, whatever the model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from massact.tables import Rule

if TYPE_CHECKING:  # schemas are read by commands that must answer at once
    import numpy as np
    import pandas as pd

Metadata = Mapping[str, Any]
TRAINING = ("family", "recipe", "model", "seed")
_RANKS = ("top1", "top2", "top3")
_PLACES = tuple(f"{place}{rank}" for rank in (1, 2, 3) for place in ("token", "dimension"))


def at_least(smallest: int, *columns: str) -> tuple[Rule, ...]:
    """No value of these columns is smaller; null and NaN may be."""
    return tuple(_at_least(smallest, name) for name in columns)


def _at_least(smallest: int, name: str) -> Rule:
    return Rule((name,), lambda f, _: ~(f[name] < smallest), f"{name} is {smallest} or more")


def _ordered(frame: pd.DataFrame, _: Metadata) -> Any:
    """top1 >= top2 >= top3 >= median."""
    import numpy as np

    names = (*_RANKS, "median")
    return np.logical_and.reduce([frame[a] >= frame[b] for a, b in itertools.pairwise(names)])


def _token_inside(frame: pd.DataFrame, _: Metadata) -> Any:
    import numpy as np

    return np.logical_and.reduce([frame[f"token{rank}"] < frame["probe_length"] for rank in (1, 2, 3)])


def _of_architecture(number: str, below: Callable[[pd.DataFrame], Any]) -> Callable[[pd.DataFrame, Metadata], Any]:
    """Whether a column is below a number of the row's architecture, where the metadata states that."""

    def holds(frame: pd.DataFrame, metadata: Metadata) -> Any:
        import numpy as np

        stated = _stated(metadata, number)
        if not stated:
            return np.ones(len(frame), dtype=bool)
        limit = next(iter(stated.values()))
        if None not in stated:
            starts = _starts(frame, "model")
            limits = np.array([stated.get(model, np.inf) for model in frame["model"].to_numpy()[starts]], dtype=float)
            limit = np.repeat(limits, np.diff(np.append(starts, len(frame))))
        return below(frame) < limit

    return holds


def _stated(metadata: Metadata, number: str) -> dict[str | None, int]:
    """A number of the architectures that a table's metadata states, by model; by None of the only one."""
    entries = metadata.get("members") or metadata.get("models") or []
    found = {e.get("model"): e.get("architecture") for e in entries if isinstance(e, Mapping)}
    if isinstance(metadata.get("architecture"), Mapping):
        found = {None: metadata["architecture"]}
    numbers = {model: a.get(number) for model, a in found.items() if isinstance(a, Mapping)}
    return {model: value for model, value in numbers.items() if isinstance(value, int)}


def _widest(frame: pd.DataFrame) -> Any:
    import numpy as np

    return np.maximum.reduce([frame[f"dimension{rank}"] for rank in (1, 2, 3)])


def whole_steps(frame: pd.DataFrame, _: Metadata) -> Any:
    """Whether each row's step has the layers, sequences and probe that most steps of its training have.

    Rows of one step usually stand together: only the first of each run is compared by its text columns.
    """
    import numpy as np

    if frame.empty:
        return np.ones(0, dtype=bool)
    starts = _starts(frame, *TRAINING, "step")
    heads = frame[[*TRAINING, "step"]].iloc[starts].reset_index(drop=True)
    cells = _mixed(frame["layer"], frame["sequence"], frame["probe_length"], frame["first_token"])
    runs = heads.groupby([*TRAINING, "step"], sort=False, dropna=False).ngroup().to_numpy()
    steps = runs.max() + 1
    content = np.zeros(steps, dtype=np.uint64)
    np.add.at(content, runs, np.add.reduceat(cells, starts))
    training = heads.groupby(list(TRAINING), sort=False, dropna=False).ngroup().to_numpy()
    of_step = np.zeros(steps, dtype=np.int64)
    of_step[runs] = training
    usual = np.zeros(training.max() + 1, dtype=np.uint64)
    for one in range(len(usual)):
        kinds, counts = np.unique(content[of_step == one], return_counts=True)
        usual[one] = kinds[counts.argmax()]
    good = content == usual[of_step]
    return np.repeat(good[runs], np.diff(np.append(starts, len(frame))))


def _starts(frame: pd.DataFrame, *names: str) -> np.ndarray:
    """Rows whose values differ from those of the row before them, the first one included."""
    import numpy as np

    change = np.zeros(len(frame), dtype=bool)
    change[:1] = True
    for name in names:
        values = frame[name].to_numpy()
        change[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(change)


def _mixed(*columns: Any) -> np.ndarray:
    """One number a row that stands for these whole numbers together; sums of such numbers stand for sets of rows."""
    import numpy as np

    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed += column.to_numpy().astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


AXES_RULES = (
    *at_least(0, "seed", "step", "tokens", "layer"),
    *at_least(1, "probe_length"),
    *at_least(-1, "first_token"),
)
RECORDS_RULES = (
    *AXES_RULES,
    *at_least(0, "sequence"),
    Rule(("median",), lambda f, _: f["median"] > 0, "the median is positive (else there is no ratio)"),
    Rule((*_RANKS, "median"), _ordered, "top1 >= top2 >= top3 >= median"),
    *at_least(-1, *_PLACES),
    Rule(
        ("token1", "token2", "token3", "probe_length"),
        _token_inside,
        "positions of the largest values lie within the probe",
    ),
    Rule(
        ("dimension1", "dimension2", "dimension3"),
        _of_architecture("d_model", _widest),
        "dimensions of the largest values lie within the model's width",
    ),
    Rule(("layer",), _of_architecture("n_layers", lambda f: f["layer"]), "layers are those of the model"),
    Rule((), whole_steps, "all steps of a training have the same layers, sequences and probe"),
)
TRAJECTORIES_RULES = (
    *AXES_RULES,
    *at_least(0, "se"),
    *at_least(1, "n_sequences"),
    Rule(("value",), lambda f, _: f["value"] > 0, "values of |h| and their ratio are positive"),
    Rule(("value",), lambda f, _: ~((f["quantity"] == "ratio") & (f["value"] < 1)), "a ratio is 1 or more"),
)
ARCHITECTURES_RULES = (
    *at_least(1, "n_layers", "d_model", "n_heads", "d_head", "d_mlp", "vocab_size", "context", "n_parameters"),
    *at_least(0, "seed", "steps", "tokens", "seconds", "measured_steps", "sequences", "rotary_fraction", "rotary_base"),
    Rule(("rotary_fraction",), lambda f, _: ~(f["rotary_fraction"] > 1), "a share of rotating dimensions is at most 1"),
)
