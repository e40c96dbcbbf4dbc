"""A sweep does any work: here a loss, which needs each checkpoint's own unembedding."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from massact.checkpoints import FolderSource, HubSource, MemorySource
from massact.checkpoints.tensors import is_unembedding
from massact.extract.options import SweepOptions
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints, sweep
from tests.extract.losses import CarelessLoss, Loss, loss_of
from tests.extract.sweeping import PROBE, QUIET, DiarySource, DiaryStore, lines, write_family
from tests.hub import REPOSITORY, serving
from tests.models import tiny_model


def losses(source, folder: Path, work=None, **more):
    return sweep(source, source.steps(), work or Loss(), RecordStore(folder), label="tiny", options=QUIET, **more)


def alone(folder: Path) -> np.ndarray:
    return loss_of(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())


def test_the_loss_of_each_checkpoint_is_the_one_it_has_when_loaded_alone(tmp_path):
    family = write_family(tmp_path / "family", 4)
    result = losses(FolderSource(family), tmp_path / "records")
    assert result.statuses() == dict.fromkeys(range(4), "measured")
    losses_of = {step: result.measured[step].arrays("loss")["loss"] for step in range(4)}
    for step in range(4):
        assert np.array_equal(losses_of[step], alone(family / f"step{step}"))
    assert len({loss.tobytes() for loss in losses_of.values()}) == 4


def test_a_work_that_does_not_ask_for_the_unembedding_is_given_another_checkpoint_s(tmp_path):
    """The reason for `unembedding`: nothing else would show that these losses are wrong."""
    family = write_family(tmp_path / "family", 3)
    measured = losses(FolderSource(family), tmp_path / "records", CarelessLoss()).measured
    assert np.array_equal(measured[0].arrays("loss")["loss"], alone(family / "step0"))
    assert not np.array_equal(measured[2].arrays("loss")["loss"], alone(family / "step2"))


def test_a_checkpoint_without_an_unembedding_has_no_loss_and_the_others_have(tmp_path):
    family = write_family(tmp_path / "family", 3)
    path = family / "step1/model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if not is_unembedding(name)}
    save_file(kept, path, metadata={"format": "pt"})
    result = losses(FolderSource(family), tmp_path / "records")
    assert sorted(result.measured) == [0, 2]
    assert "has no unembedding" in str(result.failed[1])
    measured, _ = measure_checkpoints(
        FolderSource(family), [0, 1, 2], lambda folder: PROBE, RecordStore(tmp_path / "records"),
        dtype="float32", device="cpu", label="tiny", options=QUIET,
    )  # fmt: skip
    assert sorted(measured.measured) == [0, 1, 2]  # no hidden state needs it


def test_what_is_in_the_store_is_not_done_again(tmp_path):
    family, diary = write_family(tmp_path / "family", 3), tmp_path / "diary"
    for _ in range(2):
        source = DiarySource(family, diary)
        store = DiaryStore(tmp_path / "records", diary)
        result = sweep(source, [0, 1, 2], Loss(), store, label="tiny", options=QUIET)
        assert sorted(result.measured) == [0, 1, 2]
    assert len(lines(diary, "read")) == len(lines(diary, "wrote")) == 3
    path = next((tmp_path / "records").rglob("*.record"))
    path.write_bytes(path.read_bytes()[:-1])  # torn: that one is done again
    sweep(
        DiarySource(family, diary),
        [0, 1, 2],
        Loss(),
        DiaryStore(tmp_path / "records", diary),
        label="tiny",
        options=QUIET,
    )
    assert len(lines(diary, "wrote")) == 4


def test_models_in_memory_are_worked_on_as_they_are(tmp_path):
    models = {step: tiny_model(seed=step) for step in range(2)}
    result = losses(MemorySource(models, tokenizer_folder=tmp_path), tmp_path / "records")
    for step, model in models.items():
        assert np.array_equal(result.measured[step].arrays("loss")["loss"], loss_of(model))


@pytest.mark.usefixtures("online")
def test_fetched_checkpoints_are_given_back_and_have_their_own_losses(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        source = HubSource(REPOSITORY, steps=[0, 1, 2, 4], endpoint=hub.url, offline=False, cache=tmp_path / "hf")
        result = sweep(
            source, [0, 1, 2, 4], Loss(), RecordStore(tmp_path / "records"),
            label="hub", options=SweepOptions(progress=False, prefetch=2),
        )  # fmt: skip
    assert sorted(result.measured) == [0, 1, 2, 4]
    for step, measurement in result.measured.items():
        shutil.copytree(weights[f"step{step}"], tmp_path / f"alone{step}")
        assert np.array_equal(measurement.arrays("loss")["loss"], alone(tmp_path / f"alone{step}"))
    cached = [p for p in (tmp_path / "hf").rglob("blobs/*") if p.is_file() and p.stat().st_size > 10_000]
    assert not cached
