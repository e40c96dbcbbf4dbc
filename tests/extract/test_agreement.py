"""All steps of a model must have one shape and one set of settings, whichever step differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from massact.checkpoints import FolderSource, MemorySource
from massact.extract.agreement import agreement
from massact.extract.options import SweepOptions
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from tests.extract.sweeping import PROBE, write_family
from tests.models import tiny_model

STEPS = [0, 1, 2]


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> Path:
    return write_family(tmp_path_factory.mktemp("agreement"), len(STEPS))


def sweep(family: Path, store: Path, **options):
    return measure_checkpoints(
        FolderSource(family),
        STEPS,
        lambda folder: PROBE,
        RecordStore(store),
        dtype="float32",
        device="cpu",
        label="tiny",
        options=SweepOptions(progress=False, **options),
    )[0]


def edit(folder: Path, **keys) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


@pytest.mark.parametrize("odd", STEPS)
def test_a_step_of_another_model_fails_at_any_place(family, tmp_path, odd):
    moved = shutil.copytree(family, tmp_path / "family")
    shutil.rmtree(moved / f"step{odd}")
    tiny_model(n_layers=8).save_pretrained(moved / f"step{odd}")
    result = sweep(moved, tmp_path / "store")
    assert result.failed[odd].status == "load_failed"
    assert "8 layers of width 16" in result.failed[odd].what
    assert sorted(result.measured) == [step for step in STEPS if step != odd]


@pytest.mark.parametrize("odd", [0, 2])
def test_a_step_with_other_settings_is_suspect_and_measured_on_request(family, tmp_path, odd):
    moved = shutil.copytree(family, tmp_path / "family")
    edit(moved / f"step{odd}", layer_norm_eps=0.1)
    result = sweep(moved, tmp_path / "store")
    assert result.statuses() == {step: "suspect" if step == odd else "measured" for step in STEPS}
    assert "layer_norm_eps 0.1, not 1e-05" in result.suspects[odd]
    assert sorted(sweep(moved, tmp_path / "store", suspects=True).measured) == STEPS


def test_settings_that_decide_no_hidden_state_and_defaults_left_out_are_no_difference(family, tmp_path):
    moved = shutil.copytree(family, tmp_path / "family")
    edit(moved / "step1", transformers_version="4.1", use_cache=False, bos_token_id=7, hidden_dropout=0.1)
    path = moved / "step2" / "config.json"
    settings = json.loads(path.read_text())
    del settings["layer_norm_eps"]
    path.write_text(json.dumps(settings))
    source = FolderSource(moved)
    result = agreement(source, {step: source.identify(step) for step in STEPS})
    assert (result.failures, result.suspects) == ({}, {})


def test_models_in_memory_have_no_files_to_compare():
    source = MemorySource({0: tiny_model(), 1: tiny_model(n_layers=3)})
    assert agreement(source, {step: source.identify(step) for step in (0, 1)}).failures == {}


def test_an_exception_of_a_library_is_the_status_of_one_checkpoint(family, tmp_path, monkeypatch):
    from massact.checkpoints.weights import CheckpointLoader

    real = CheckpointLoader.load

    def load(self, prepared):
        if prepared.resolved.step == 1:
            raise ZeroDivisionError("division by zero\nin a library")
        return real(self, prepared)

    monkeypatch.setattr(CheckpointLoader, "load", load)
    result = sweep(family, tmp_path)
    assert sorted(result.measured) == [0, 2]
    assert result.failed[1].status == "failed"
    assert "step 1 cannot be measured (ZeroDivisionError: division by zero in a library)" in str(result.failed[1])


def test_an_epsilon_of_zero_does_not_end_the_sweep(family, tmp_path):
    moved = shutil.copytree(family, tmp_path / "family")
    edit(moved / "step1", layer_norm_eps=0, hidden_size=[])
    result = sweep(moved, tmp_path / "store")
    assert sorted(result.measured) == [0, 2]
    alone = sweep(family, tmp_path / "other")
    assert np.array_equal(result.measured[2].top, alone.measured[2].top)
