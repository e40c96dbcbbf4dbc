"""The tidy table of one model's records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from massact.extract.magnitudes import DEFAULT
from massact.extract.probe import Probe
from massact.extract.protocol import Measurement
from massact.extract.statistic import Statistic


def records_frame(
    measured: Mapping[int, Measurement],
    probe: Probe,
    *,
    family: str,
    recipe: str,
    model: str,
    seed: int,
    tokens_per_step: int | None,
    tokens: Mapping[int, int] | None = None,
    statistic: Statistic = DEFAULT,
) -> pd.DataFrame:
    """One row per (step, layer, sequence), steps ascending; schema `massact.trajectories.schemas.records_schema`.

    A statistic with the axis `head` has one row per head. `tokens_per_step` is None and `recipe` is empty if it is
    unknown how the model was trained; then `tokens` may state those seen at each step. Steps without a measurement of
    the statistic have no rows.
    """
    frames = [
        _step_frame(step, measured[step].arrays(statistic.name), statistic)
        for step in sorted(measured)
        if statistic.name in measured[step].reduced
    ]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(
        family=family,
        recipe=recipe,
        model=model,
        seed=seed,
        tokens=_tokens(frame, tokens_per_step, tokens or {}),
        probe_length=probe.length,
        first_token=probe.first_token,
    )


def _tokens(frame: Any, per_step: int | None, stated: Mapping[int, int]) -> Any:
    if per_step is not None:
        return frame["step"] * per_step
    return frame["step"].map(stated).astype("Int64") if stated else None


def _step_frame(step: int, arrays: Mapping[str, ndarray], statistic: Statistic) -> pd.DataFrame:
    values = statistic.rows(arrays)
    rows, sequences = next(iter(values.values())).shape
    columns = {"step": np.full(rows * sequences, step)}
    columns |= {axis: np.repeat(place, sequences) for axis, place in statistic.places(arrays).items()}
    columns["sequence"] = np.tile(np.arange(sequences), rows)
    return pd.DataFrame(columns | {name: value.ravel() for name, value in values.items()})
