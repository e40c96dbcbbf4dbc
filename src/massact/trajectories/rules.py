"""Rules for tables of measurements, whatever is measured. A statistic adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from massact.rules import Metadata, at_least, below_architecture, starts_of_runs
from massact.tables import Rule

if TYPE_CHECKING:  # commands that must answer at once import the schemas
    import numpy as np
    import pandas as pd

    from massact.extract.statistic import Statistic

TRAINING = ("family", "recipe", "model", "seed")


def whole_steps(frame: pd.DataFrame, _: Metadata) -> Any:
    """Whether each row's step has the same layers, sequences and probe as most steps of its training.

    Rows of one step are usually adjacent, so text columns are compared only for the first row of each run.
    """
    import numpy as np

    if frame.empty:
        return np.ones(0, dtype=bool)
    starts = starts_of_runs(frame, *TRAINING, "step")
    heads = frame[[*TRAINING, "step"]].iloc[starts].reset_index(drop=True)
    heads_column = [frame["head"]] if "head" in frame else []
    cells = _mixed(frame["layer"], frame["sequence"], frame["probe_length"], frame["first_token"], *heads_column)
    runs = heads.groupby([*TRAINING, "step"], sort=False, dropna=False).ngroup().to_numpy()
    steps = runs.max() + 1
    content = np.zeros(steps, dtype=np.uint64)
    np.add.at(content, runs, np.add.reduceat(cells, starts))
    training = heads.groupby(list(TRAINING), sort=False, dropna=False).ngroup().to_numpy()
    of_step = np.zeros(steps, dtype=np.int64)
    of_step[runs] = training
    usual = np.zeros(training.max() + 1, dtype=np.uint64)
    for number in range(len(usual)):
        kinds, counts = np.unique(content[of_step == number], return_counts=True)
        usual[number] = kinds[counts.argmax()]
    good = content == usual[of_step]
    return np.repeat(good[runs], np.diff(np.append(starts, len(frame))))


def _mixed(*columns: Any) -> np.ndarray:
    """A hash of each row's integers. The sum of such hashes identifies a set of rows."""
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


def records_rules(statistic: Statistic) -> tuple[Rule, ...]:
    """Rules for the table of a statistic's records."""
    heads = (Rule(("head",), below_architecture("n_heads", lambda f: f["head"]), "heads are those of the model"),)
    return (
        *AXES_RULES,
        *at_least(0, "sequence"),
        *(at_least(0, "head") + heads if "head" in statistic.axes else ()),
        *statistic.record_rules,
        Rule(("layer",), below_architecture("n_layers", lambda f: f["layer"]), "layers are those of the model"),
        Rule((), whole_steps, "all steps of a training have the same layers, sequences and probe"),
    )


def trajectories_rules(statistic: Statistic) -> tuple[Rule, ...]:
    """Rules for the table of a statistic's trajectories."""
    return (
        *AXES_RULES,
        *at_least(0, "se"),
        *at_least(1, "n_sequences"),
        *statistic.trajectory_rules,
    )


ARCHITECTURES_RULES = (
    *at_least(1, "n_layers", "d_model", "n_heads", "d_head", "d_mlp", "vocab_size", "context", "n_parameters"),
    *at_least(0, "seed", "steps", "tokens", "seconds", "measured_steps", "sequences", "rotary_fraction", "rotary_base"),
    Rule(("rotary_fraction",), lambda f, _: ~(f["rotary_fraction"] > 1), "a share of rotating dimensions is at most 1"),
)
