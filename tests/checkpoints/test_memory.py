"""Weights in memory behind the same interface: a model in training, swept as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from massact.checkpoints import CheckpointSource, CheckpointStatus, MemorySource, SourceError
from massact.extract import measure
from massact.extract.options import SweepOptions
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from tests.extract.sweeping import PROBE
from tests.models import tiny_model


def sweep(source, store: Path, dtype: str = "float32"):
    result, _ = measure_checkpoints(
        source,
        source.steps(),
        lambda folder: PROBE,
        RecordStore(store),
        dtype=dtype,
        device="cpu",
        label="tiny",
        options=SweepOptions(progress=False),
    )
    return result


def test_it_is_a_source():
    source = MemorySource({4: tiny_model(), 2: tiny_model()})
    assert isinstance(source, CheckpointSource)
    assert source.steps() == [2, 4]
    with pytest.raises(SourceError) as raised:
        source.identify(3)
    assert raised.value.status is CheckpointStatus.REVISION_MISSING


def test_a_model_in_training_is_measured_as_it_is_and_left_so(tmp_path):
    model = tiny_model(seed=1).train()
    names = list(model.state_dict())
    result = sweep(MemorySource({8: model}, tokenizer_folder=tmp_path), tmp_path)
    assert np.array_equal(result.measured[8].top, measure(model, torch.from_numpy(PROBE.tokens)).top)
    assert list(model.state_dict()) == names
    assert model.training
    # The record is that of these weights: found again for them, not for others.
    assert not sweep(MemorySource({9: model}, tokenizer_folder=tmp_path), tmp_path).seconds
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert sorted(sweep(MemorySource({9: model}, tokenizer_folder=tmp_path), tmp_path).seconds) == [9]


def test_another_format_than_the_model_is_in_is_refused(tmp_path):
    result = sweep(MemorySource({0: tiny_model()}, tokenizer_folder=tmp_path), tmp_path, "bfloat16")
    assert result.failed[0].status == "load_failed"
    assert "float32" in result.failed[0].what


def test_a_model_in_memory_is_never_made_a_bridge_and_has_the_tokenizer_it_is_given(tmp_path):
    source = MemorySource({0: tiny_model()})
    with pytest.raises(SourceError, match="not made a bridge"):
        source.load(source.resolve(0))
    with pytest.raises(SourceError, match="no tokenizer"):
        source.tokenizer(0)
