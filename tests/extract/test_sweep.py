"""A sweep over a folder: it continues, measures nothing twice, and separates failures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.faults_classes import CLASSES, saved, source_of, tokens
from transformers import GPTNeoXForCausalLM

from massact.checkpoints import FolderSource, Identity
from massact.errors import ConfigError, MeasureError
from massact.extract import measure
from massact.extract.options import SweepOptions
from massact.extract.probe import Probe
from massact.extract.provenance import device_named, provenance, record_key
from massact.extract.records import records_frame
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from massact.trajectories import RECORDS
from tests.models import tiny_model

STEPS = [0, 1, 2]
PROBE = Probe(np.random.default_rng(0).integers(0, 300, (3, 9)), "random", -1)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    root = tmp_path_factory.mktemp("family")
    for step in STEPS:
        tiny_model(seed=step).save_pretrained(root / f"step{step}")
    return root


def sweep(family, store, steps=STEPS):
    return measure_checkpoints(
        FolderSource(family),
        steps,
        lambda folder: PROBE,
        RecordStore(store),
        dtype="float32",
        device="cpu",
        label="tiny",
        options=SweepOptions(progress=False),
    )


def test_the_bridge_gives_what_the_plain_model_gives(family, tmp_path):
    result, probe = sweep(family, tmp_path)
    assert probe is PROBE
    for step in STEPS:
        plain = measure(GPTNeoXForCausalLM.from_pretrained(family / f"step{step}"), torch.from_numpy(PROBE.tokens))
        for name, array in plain.arrays().items():
            assert np.array_equal(result.measured[step].arrays()[name], array)


def test_what_is_in_the_store_is_not_measured_again(family, tmp_path):
    first, _ = sweep(family, tmp_path, [0, 1])
    second, _ = sweep(family, tmp_path)
    assert sorted(first.seconds) == [0, 1]
    assert sorted(second.seconds) == [2]
    third, _ = sweep(family, tmp_path)
    assert not third.seconds


def test_a_damaged_record_is_measured_again(family, tmp_path):
    sweep(family, tmp_path, [0])
    (record,) = tmp_path.rglob("*.record")
    record.write_bytes(record.read_bytes()[:-1])
    again, _ = sweep(family, tmp_path, [0])
    assert sorted(again.seconds) == [0]


def test_a_missing_step_is_a_failure_of_its_own(family, tmp_path):
    result, _ = sweep(family, tmp_path, [0, 7, 2])
    assert sorted(result.measured) == [0, 2]
    assert "step7 does not exist" in result.failed[7].what


def test_overflowing_weights_are_a_failure_that_names_the_layer(family, tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_4h_to_h.bias[0] = float("nan")
    model.save_pretrained(tmp_path / "bad" / "step0")
    result, _ = sweep(tmp_path / "bad", tmp_path / "store", [0])
    assert "layer 1" in result.failed[0].what
    assert result.failed[0].status == "not_finite"
    # The record says so: a second sweep knows without measuring anything.
    again, _ = sweep(tmp_path / "bad", tmp_path / "store", [0])
    assert again.failed == result.failed
    assert not again.measured
    assert not again.seconds


def test_other_settings_of_the_same_weights_are_measured_again(family, tmp_path):
    moved = shutil.copytree(family, tmp_path / "family")
    first, _ = sweep(moved, tmp_path / "store", [2])
    path = moved / "step2" / "config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "use_parallel_residual": not settings["use_parallel_residual"]}))
    again, _ = sweep(moved, tmp_path / "store", [2])
    assert list(again.seconds) == [2]
    assert not np.array_equal(first.measured[2].top, again.measured[2].top)


def test_the_tokenizer_of_another_step_will_do(family, tmp_path):
    from massact.extract.probe import chunk, encode
    from tests.hub import small_tokenizer

    moved = shutil.copytree(family, tmp_path / "family")
    small_tokenizer().save_pretrained(moved / "step2")

    def probe_of(folder):
        ids = encode(folder / "tokenizer.json", "the quality of mercy is not strained" * 20)
        return chunk(ids, sequences=2, length=8, first_token=None, text="t")

    result, probe = measure_checkpoints(
        FolderSource(moved),
        STEPS,
        probe_of,
        RecordStore(tmp_path / "store"),
        dtype="float32",
        device="cpu",
        label="t",
        options=SweepOptions(progress=False),
    )
    assert probe is not None
    assert sorted(result.measured) == STEPS


def test_records_and_provenance_say_what_was_measured(family, tmp_path):
    result, probe = sweep(family, tmp_path)
    frame = RECORDS.validate(
        records_frame(result.measured, probe, family="f", recipe="r", model="tiny", seed=0, tokens_per_step=100)
    )
    assert len(frame) == len(STEPS) * 2 * 3
    row = frame[(frame["step"] == 1) & (frame["layer"] == 1) & (frame["sequence"] == 2)].iloc[0]
    assert row["top2"] == result.measured[1].top[2, 1, 1]
    assert row["dimension3"] == result.measured[1].dimension[2, 1, 2]
    assert row["tokens"] == 100
    metadata = provenance(result, probe, dtype="float32", fixed={"model": "tiny"})
    assert metadata["checkpoints"]["1"]["revision_loaded"] == "local"
    assert json.loads(json.dumps(metadata)) == metadata


def test_provenance_says_how_blocks_were_read_the_same_after_a_continuation(tmp_path):
    """A class that TransformerLens does not know and one that it does, fetched; the same again from the store."""
    for kind, expected in (
        (
            "HeliumForCausalLM",
            {"attached": "plain hooks", "attached_reason": "TransformerLens knows no HeliumForCausalLM"},
        ),
        ("LlamaForCausalLM", {"attached": "bridge"}),
    ):
        root, store = tmp_path / kind, RecordStore(tmp_path / f"{kind}-records")
        saved(next(small for small in CLASSES if small.kind == kind), root)
        probe = Probe.of(tokens())
        runs = [
            measure_checkpoints(
                source_of(root, remote=True), steps, lambda folder, probe=probe: probe, store,
                dtype="float32", device="cpu", label="t", options=SweepOptions(progress=False),
            )[0]
            for steps in ([0], [0, 1], [0, 1])
        ]  # fmt: skip
        assert [len(run.seconds) for run in runs] == [1, 1, 0]
        metadata = [provenance(run, probe, dtype="float32", fixed={}) for run in runs]
        assert metadata[1] == metadata[2]
        assert {name: metadata[2][name] for name in metadata[2] if name.startswith("attached")} == expected


def test_a_folders_models_are_read_by_plain_hooks_and_older_records_say_nothing(family, tmp_path):
    result, probe = sweep(family, tmp_path, [0, 1])
    assert provenance(result, probe, dtype="float32", fixed={})["attached"] == "plain hooks"
    result.measured[1] = replace(result.measured[1], attached="bridge")
    assert result.attached() == ("bridge and plain hooks", [])
    result.measured = {step: replace(found, attached="") for step, found in result.measured.items()}
    assert provenance(result, probe, dtype="float32", fixed={})["attached"] is None


def test_the_key_changes_with_weights_tokens_format_and_device(family):
    a, b, c = (Identity(0, "step0", "local", sha, {}, 0, settings) for sha, settings in ["ax", "bx", "ay"])
    base = record_key(a, PROBE, "float32", "cpu")
    other = Probe(PROBE.tokens[:, ::-1].copy(), "random", -1)
    assert len({base, record_key(b, PROBE, "float32", "cpu"), record_key(a, other, "float32", "cpu"),
                record_key(a, PROBE, "float16", "cpu"), record_key(a, PROBE, "float32", "cuda"),
                record_key(c, PROBE, "float32", "cpu")}) == 6  # fmt: skip


def test_a_gpu_that_is_not_there_is_a_wrong_value():
    assert device_named("cpu") == "cpu"
    if device_named("auto") == "cpu":
        with pytest.raises(ConfigError, match=r"protocol\.device=auto"):
            device_named("cuda")


def test_an_unreadable_probe_is_not_a_crash(family, tmp_path):
    def broken(folder):
        raise MeasureError("the text is too short")

    result, probe = measure_checkpoints(
        FolderSource(family),
        [0],
        broken,
        RecordStore(tmp_path),
        dtype="float32",
        device="cpu",
        label="t",
        options=SweepOptions(progress=False),
    )
    assert probe is None
    assert str(result.failed[0]) == "the text is too short"
