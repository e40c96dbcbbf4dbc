"""From measurements to the tidy records table of one model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from massact.extract.probe import Probe
from massact.extract.protocol import Measurement


def records_frame(
    measured: Mapping[int, Measurement],
    probe: Probe,
    *,
    family: str,
    recipe: str,
    model: str,
    seed: int,
    tokens_per_step: int | None,
) -> pd.DataFrame:
    """One row per (step, layer, sequence), steps ascending; schema `massact.trajectories.table.RECORDS`.

    `tokens_per_step` is None, and `recipe` empty, where nobody knows how the model was trained.
    """
    frames = [_step_frame(step, measured[step]) for step in sorted(measured)]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(
        family=family,
        recipe=recipe,
        model=model,
        seed=seed,
        tokens=frame["step"] * tokens_per_step if tokens_per_step is not None else None,
        probe_length=probe.length,
        first_token=probe.first_token,
    )


def _step_frame(step: int, m: Measurement) -> pd.DataFrame:
    sequences, layers = m.median.shape
    layer, sequence = np.meshgrid(np.arange(layers), np.arange(sequences), indexing="ij")
    columns = {"step": np.full(layers * sequences, step), "layer": layer.ravel(), "sequence": sequence.ravel()}
    for rank in range(m.top.shape[2]):
        columns[f"top{rank + 1}"] = m.top[:, :, rank].T.ravel()
        columns[f"token{rank + 1}"] = m.token[:, :, rank].T.ravel()
        columns[f"dimension{rank + 1}"] = m.dimension[:, :, rank].T.ravel()
    return pd.DataFrame({**columns, "median": m.median.T.ravel()})
