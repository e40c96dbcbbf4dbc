"""Aggregate records over sequences: one value and one standard error per (step, layer, quantity)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from massact.errors import ConfigError
from massact.extract.magnitudes import DEFAULT
from massact.extract.quantity import AGGREGATIONS, RATIO_OF_MEANS, SequenceColumns
from massact.extract.statistic import Statistic
from massact.trajectories.schemas import axes_of, trajectories_schema


def aggregate(records: pd.DataFrame, aggregation: str = RATIO_OF_MEANS, statistic: Statistic = DEFAULT) -> pd.DataFrame:
    """Trajectories of a statistic's quantities; by default top-1, median and their ratio.

    Parameters
    ----------
    records
        Schema `records_schema(statistic)`. All steps and layers must have the same number of sequences.
    aggregation
        `ratio_of_means`: mean over sequences of top-1 divided by mean of the median (paper Eq. 8);
        `mean_of_ratios`: mean of the sequences' ratios (Eq. 6).

    Returns
    -------
    DataFrame of schema `trajectories_schema(statistic)`. Standard errors are over sequences. That of a ratio of means
    is by the delta method (first order, with the covariance of numerator and denominator).

    Raises
    ------
    ConfigError
        When the aggregation is unknown, or numbers of sequences differ.
    """
    if aggregation not in AGGREGATIONS:
        raise ConfigError(f"aggregation = {aggregation}", f"choose {' or '.join(AGGREGATIONS)}")
    axes = list(axes_of(statistic))
    ordered = records.sort_values([*axes, "sequence"], kind="stable")
    groups = ordered.groupby(axes, sort=True, dropna=False)  # tokens may be null
    sizes: Any = groups.size()
    index = sizes.reset_index(name="n_sequences")
    if len(set(index["n_sequences"])) != 1:
        raise ConfigError("records hold different numbers of sequences", "extract the model again")
    columns = SequenceColumns(ordered, len(index))
    frames = []
    for name, quantity in statistic.quantities.items():
        result = quantity.over_sequences(columns, aggregation)
        frames.append(index.assign(quantity=name, value=result.value, se=result.se))
    return trajectories_schema(statistic).validate(pd.concat(frames, ignore_index=True), "aggregated")
