import numpy as np
import pandas as pd
import pytest

from massact.errors import ConfigError
from massact.extract.magnitudes import magnitudes
from massact.extract.probe import Probe
from massact.extract.records import records_frame
from massact.trajectories import RECORDS, aggregate


def records(top1, median):
    """One step and layer whose sequences have the given magnitudes."""
    sequences = len(top1)
    top = np.repeat(np.asarray(top1, dtype=np.float32)[:, None, None], 3, axis=2)
    zeros = np.zeros((sequences, 1, 3), dtype=np.int32)
    m = magnitudes(top=top, token=zeros, dimension=zeros, median=np.asarray(median, dtype=np.float32)[:, None])
    probe = Probe(np.zeros((sequences, 4), dtype=np.int64), "t", 0)
    frame = records_frame({2: m, 0: m}, probe, family="f", recipe="r", model="m", seed=0, tokens_per_step=10)
    return RECORDS.validate(frame)


def value(frame, quantity, step=2):
    return frame[(frame["quantity"] == quantity) & (frame["step"] == step)].iloc[0]


def test_both_ratios_follow_their_equations():
    top1, median = [10.0, 30.0], [1.0, 2.0]
    of_means = value(aggregate(records(top1, median)), "ratio")
    of_each = value(aggregate(records(top1, median), "mean_of_ratios"), "ratio")
    assert of_means["value"] == pytest.approx(20 / 1.5)
    assert of_each["value"] == pytest.approx(12.5)
    assert of_each["se"] == pytest.approx(np.std([10, 15], ddof=1) / np.sqrt(2))
    assert of_means["tokens"] == 20


def test_standard_error_of_a_ratio_of_means_matches_resampling():
    generator = np.random.default_rng(0)
    median = generator.lognormal(0, 0.1, 400)
    top1 = 50 * median * generator.lognormal(0, 0.2, 400)
    row = value(aggregate(records(top1, median)), "ratio")
    draws = generator.integers(0, 400, (3000, 400))
    resampled = top1[draws].mean(1) / median[draws].mean(1)
    assert row["se"] == pytest.approx(resampled.std(), rel=0.1)


def test_one_sequence_has_a_value_but_no_error():
    frame = aggregate(records([10.0], [2.0]))
    assert value(frame, "ratio")["value"] == 5
    assert np.isnan(value(frame, "ratio")["se"])


def test_unknown_aggregation_and_uneven_sequences_are_refused():
    with pytest.raises(ConfigError, match="ratio_of_means"):
        aggregate(records([1.0], [1.0]), "median_of_means")
    uneven = pd.concat([records([1.0, 2.0], [1.0, 1.0]).iloc[:-1]])
    with pytest.raises(ConfigError, match="different numbers"):
        aggregate(uneven)
