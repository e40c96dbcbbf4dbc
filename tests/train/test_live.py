"""Live measurement: the numbers of `measure`, the records of an extraction, and an unchanged training."""

import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from massact.checkpoints import MemorySource
from massact.errors import MeasureError, StorageError, TrainError
from massact.extract import Probe, RecordStore, measure
from massact.extract.options import SweepOptions
from massact.extract.sweep import measure_checkpoints
from massact.tables import read_metadata, read_table
from massact.train import LiveMeasurement, Subject
from massact.trajectories import RECORDS
from tests.models import tiny, tiny_model
from tests.train.test_loop import SMALL, KilledError, run, same, weights

TOKENS = torch.randint(1, 300, (3, 8), generator=torch.Generator().manual_seed(0))
TOKENS[:, 0] = 0
PROBE = Probe.of(TOKENS, first_token=0)
SUBJECT = Subject(
    family="own", recipe="small", model="tiny", architecture=tiny().as_dict(), tokens_per_step=SMALL.tokens_per_step
)
STEPS = (0, 1, 2, 4, 8, 12)


def live(folder, *, steps=STEPS, probe=PROBE, subject=SUBJECT, loggers=()):
    return LiveMeasurement(
        subject, probe, steps, store=RecordStore(folder / "records"), journal=folder / "measured.json", loggers=loggers
    )


def test_the_numbers_are_those_of_a_measurement_of_the_same_weights(tmp_path):
    models = {step: tiny_model(seed=step) for step in (0, 4)}
    watch = live(tmp_path)
    for step, model in models.items():
        measurement = watch(step, model)
        alone = measure(model, TOKENS)
        assert all(np.array_equal(measurement.arrays()[name], array) for name, array in alone.arrays().items())
    table = watch.records()
    rows = table[(table["step"] == 4) & (table["layer"] == 1)]
    assert rows["top1"].tolist() == measure(models[4], TOKENS).top[:, 1, 0].tolist()
    assert set(rows["tokens"]) == {4 * SMALL.tokens_per_step}


def test_a_step_whose_median_is_zero_is_a_failure_and_the_table_is_written(tmp_path):
    watch, zero = live(tmp_path), tiny_model(seed=1)
    with torch.no_grad():
        for parameter in zero.parameters():
            parameter.zero_()
    watch(0, zero)
    watch(4, tiny_model(seed=4))
    assert watch.result().statuses() == {0: "zero_median", 4: "stored"}
    watch.end(tmp_path / "table.parquet")
    assert set(read_table(tmp_path / "table.parquet", RECORDS)["step"]) == {4}


def test_a_sweep_over_the_same_weights_finds_the_records(tmp_path):
    model = tiny_model(seed=5)
    live(tmp_path)(4, model)
    result, _ = measure_checkpoints(
        MemorySource({4: model}, tokenizer_folder=tmp_path), [4], lambda folder: PROBE,
        RecordStore(tmp_path / "records"), dtype="float32", device="cpu", label="tiny",
        options=SweepOptions(progress=False),
    )  # fmt: skip
    assert result.statuses() == {4: "stored"}


def test_a_wrapped_model_gives_the_record_of_the_bare_one(tmp_path):
    model = tiny_model(seed=5)
    live(tmp_path / "a", steps=[0])(0, nn.DataParallel(model))
    live(tmp_path / "b", steps=[0])(0, model)
    keys = [json.loads((tmp_path / n / "measured.json").read_text())["steps"]["0"]["key"] for n in ("a", "b")]
    assert keys[0] == keys[1]


def test_training_is_the_same_to_the_bit_with_and_without(tmp_path):
    torch.set_num_threads(1)
    run(tmp_path / "without")
    watch = live(tmp_path)
    run(tmp_path / "with", watch=watch)
    assert same(weights(tmp_path / "without"), weights(tmp_path / "with"))
    assert watch.records()["step"].unique().tolist() == list(STEPS)
    assert watch.missing(before=13) == []
    assert watch.seconds > 0


def test_a_killed_training_goes_on_from_its_journal(tmp_path):
    torch.set_num_threads(1)
    whole = live(tmp_path / "whole")
    run(tmp_path / "trained", watch=whole)
    first = live(tmp_path / "cut")

    def kill(step, model):
        first(step, model)
        if step == 9:
            raise KilledError

    with pytest.raises(KilledError):
        run(tmp_path / "cut", watch=kill)
    told: list[int] = []
    second = live(tmp_path / "cut", loggers=[lambda step, measurement: told.append(step)])
    assert second.missing(before=12) == []
    run(tmp_path / "cut", watch=second)
    assert told == list(STEPS)
    assert second.records().equals(whole.records())
    assert second.metadata() == whole.metadata()


def test_a_restarted_training_replaces_the_journal(tmp_path, caplog):
    first = live(tmp_path)
    for step in (0, 1, 2, 4):
        first(step, tiny_model(seed=step))
    told: list[int] = []
    anew = live(tmp_path, loggers=[lambda step, measurement: told.append(step)])
    anew(0, tiny_model(seed=0))
    anew(1, tiny_model(seed=7))
    assert caplog.text.count("measuring again from step 1 on") == 1
    assert sorted(live(tmp_path).result().measured) == [0, 1]
    anew(2, tiny_model(seed=8))
    assert told == [0, 1, 2, 4, 1, 2]
    again = live(tmp_path).result().measured
    assert sorted(again) == [0, 1, 2]
    assert np.array_equal(again[1].top, measure(tiny_model(seed=7), TOKENS).top)


def test_each_step_is_measured_once_and_steps_not_due_never(tmp_path):
    told: list[int] = []
    watch = live(tmp_path, steps=[2, 4], loggers=[lambda step, measurement: told.append(step)])
    model = tiny_model()
    for step in (0, 1, 2, 2, 3):
        watch(step, model)
    assert told == [2]
    assert watch.missing(before=9) == [4]
    # What is not due is not even looked at.
    assert watch(3, object()) is None


def test_nothing_is_left_changed(tmp_path):
    model = tiny_model().train()
    model.gpt_neox.layers[0].eval()  # a frozen block, as some trainings have
    flags = [part.training for part in model.modules()]
    model(TOKENS, labels=TOKENS).loss.backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    live(tmp_path)(0, model)
    assert [part.training for part in model.modules()] == flags
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert not any(part._forward_hooks for part in model.modules())


@pytest.mark.parametrize("text", ["{", "[]", '{"of": "x"}', '{"of": "x", "steps": {"one": {}}}', ""])
def test_a_damaged_journal_is_refused(tmp_path, text):
    (tmp_path / "measured.json").write_text(text)
    with pytest.raises(TrainError, match="is damaged; remove"):
        live(tmp_path)


@pytest.mark.parametrize(
    "other", [{"probe": Probe.of(TOKENS + 1)}, {"subject": Subject(**{**vars(SUBJECT), "seed": 1})}]
)
def test_the_journal_of_another_training_is_refused(tmp_path, other):
    live(tmp_path)(0, tiny_model())
    with pytest.raises(TrainError, match="another model, seed, recipe or probe"):
        live(tmp_path, **other)


def test_a_record_that_has_gone_is_named(tmp_path):
    watch = live(tmp_path)
    watch(4, tiny_model())
    for path in (tmp_path / "records").rglob("*.record"):
        path.unlink()
    with pytest.raises(StorageError, match="step 4"):
        watch.records()


def test_weights_that_overflow_are_remembered_and_training_goes_on(tmp_path):
    told: list[int] = []
    broken = tiny_model()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    watch = live(tmp_path, loggers=[lambda step, measurement: told.append(step)])
    assert watch(0, broken) is None
    with pytest.raises(TrainError, match="tiny has no measurements yet"):
        watch.records()
    assert watch(1, tiny_model()) is not None
    again = live(tmp_path)
    assert again(0, broken) is None
    assert again.result().failed[0].status == "not_finite"
    assert again.records()["step"].unique().tolist() == told == [1]
    assert "NaN" in again.metadata()["failed"]["0"]


def test_the_table_has_its_schema_and_says_where_it_is_from(tmp_path):
    watch = live(tmp_path)
    watch(0, tiny_model())
    watch.write(tmp_path / "tiny.parquet")
    table = read_table(tmp_path / "tiny.parquet", RECORDS)
    assert len(table) == 2 * 3
    metadata = read_metadata(tmp_path / "tiny.parquet")
    assert metadata["source"] == "measured in training"
    assert metadata["architecture"] == tiny().as_dict()
    assert metadata["probe"] == {"text": "own", "length": 8, "first_token": 0}


def test_a_model_without_blocks_is_refused(tmp_path):
    plain = nn.Linear(2, 2)
    plain.config = type("C", (), {"num_hidden_layers": 3, "vocab_size": 300})()
    with pytest.raises(MeasureError, match="no list of 3 blocks"):
        live(tmp_path)(0, plain)


def test_a_subject_takes_its_numbers_from_the_model():
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=300, n_positions=32))
    subject = Subject.of_model(model, name="mine", tokens_per_step=64, seed=2)
    assert subject.architecture == {
        "n_layers": 2, "d_model": 16, "n_heads": 2, "d_mlp": 64, "vocab_size": 300, "context": 32,
        "rotary_fraction": 0.0, "parallel_residual": False,
    }  # fmt: skip
    assert (subject.family, subject.recipe, subject.model, subject.seed) == ("own", "own", "mine", 2)
    with pytest.raises(MeasureError, match="no Hugging Face configuration"):
        Subject.of_model(nn.Linear(2, 2), name="mine", tokens_per_step=1)


@pytest.mark.parametrize("step", [1.0, np.int64(1), np.float32(1), torch.tensor(1), np.array(1)])
def test_steps_are_whole_numbers_of_any_kind(tmp_path, step):
    assert live(tmp_path, steps=[step])(step, tiny_model()) is not None
    assert sorted(live(tmp_path).result().measured) == [1]
    assert live(tmp_path)(1, tiny_model()) is None


@pytest.mark.parametrize("step", [True, np.True_, torch.tensor(True), 1.5, float("nan"), "1", None, -1, np.arange(2)])
def test_an_invalid_step_is_refused_at_once(tmp_path, step):
    with pytest.raises(TrainError, match="is not a number of steps"):
        live(tmp_path)(step, tiny_model())
    with pytest.raises(TrainError, match="is not a number of steps"):
        live(tmp_path, steps=[step])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_warned_of_once_and_nothing_is_lost(tmp_path, caplog):
    watch = live(tmp_path)
    assert watch(0, tiny_model(seed=0)) is not None
    records = tmp_path / "records"
    records.rename(tmp_path / "aside")
    records.write_text("in the way")
    for step in (1, 2):
        assert watch(step, tiny_model(seed=step)) is not None
    assert caplog.text.count("held in memory until they can be written") == 1
    assert "records cannot be written to" in caplog.text
    assert sorted(live(tmp_path)._journal.entries) == [0]  # the journal names nothing that is not kept
    records.unlink()
    (tmp_path / "aside").rename(records)
    assert sorted(watch.result().measured) == [0, 1, 2]
    watch.end()
    again = live(tmp_path).result().measured
    assert sorted(again) == [0, 1, 2]
    assert np.array_equal(again[2].top, measure(tiny_model(seed=2), TOKENS).top)


def test_strict_raises_instead_of_warning(tmp_path):
    (tmp_path / "records").write_text("in the way")
    store = RecordStore(tmp_path / "records")
    watch = LiveMeasurement(SUBJECT, PROBE, STEPS, store=store, journal=tmp_path / "measured.json", strict=True)
    with pytest.raises(StorageError):
        watch(0, tiny_model())


def test_a_failure_during_training_is_a_warning(tmp_path, caplog):
    watch = live(tmp_path)
    watch(0, tiny_model())
    assert watch(1, object()) is None
    assert watch(2, nn.Linear(2, 2)) is None
    assert caplog.text.count("the training goes on") == 1
    assert watch(4, tiny_model()) is not None
    assert watch.missing(before=5) == [1, 2]


class Broken:
    def __init__(self):
        self.told = 0

    def __call__(self, step, measurement):
        self.told += 1
        return 1 / 0

    close = __call__


def test_a_logger_that_raises_is_warned_of_once(tmp_path, caplog):
    broken, told = Broken(), []
    watch = live(tmp_path, loggers=[broken, lambda step, measurement: told.append(step)])
    for step in (0, 1, 2):
        assert watch(step, tiny_model(seed=step)) is not None
    assert caplog.text.count("Broken failed (ZeroDivisionError") == 1
    assert "LiveMeasurement.tell(Broken)" in caplog.text
    assert told == [0, 1, 2] and broken.told == 3
    live(tmp_path, loggers=[broken])(0, tiny_model(seed=0))  # the logger is called, and raises, again
    watch.end()
    assert "Broken was not closed" in caplog.text
    later: list[int] = []
    live(tmp_path).tell(lambda step, measurement: later.append(step))
    assert later == [0, 1, 2]


@pytest.mark.parametrize("kind", ["under a file", "a folder", "without records"])
def test_the_end_of_a_training_never_raises(tmp_path, kind, caplog):
    watch = live(tmp_path)
    watch(0, tiny_model())
    table = tmp_path / "table" / "tiny.parquet"
    if kind == "under a file":
        table.parent.write_text("")
    elif kind == "a folder":
        table.mkdir(parents=True)
        (table / "file").write_text("")
    else:
        shutil.rmtree(tmp_path / "records")
    watch.end(table)
    assert f"{table} was not written" in caplog.text
    assert f"are kept in {tmp_path / 'measured.json'}" in caplog.text
    assert "writes the table later" in caplog.text


def test_a_second_training_on_a_journal_is_refused(tmp_path):
    code = (
        "import sys, time; sys.path.insert(0, '.'); from pathlib import Path; import tests.train.test_live as t;"
        f"w = t.live(Path({str(tmp_path)!r})); w(0, t.tiny_model()); print(flush=True); time.sleep(120)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        process.stdout.readline()
        second = live(tmp_path)
        assert sorted(second.result().measured) == [0]  # it can be read
        with pytest.raises(TrainError, match=rf"measured.json is in use by process {process.pid} on host .*-c import"):
            second(1, tiny_model(seed=1))
        with pytest.raises(TrainError, match=r"its own journal"):
            second.open()
        process.kill()
        process.wait()
    assert live(tmp_path)(1, tiny_model(seed=1)) is not None


def test_within_a_process_the_training_that_opened_last_writes(tmp_path, caplog):
    first, second = live(tmp_path), live(tmp_path)
    first(0, tiny_model(seed=0))
    second(1, tiny_model(seed=1))
    first(2, tiny_model(seed=2))
    assert "was opened by another live measurement" in caplog.text
    assert sorted(live(tmp_path).result().measured) == [0, 1]
    second.end()
    assert not (tmp_path / ".measured.json.claim").exists()


def test_a_claim_goes_with_its_training(tmp_path):
    watch = live(tmp_path)
    watch(0, tiny_model())
    assert (tmp_path / ".measured.json.claim").exists()
    del watch
    gc.collect()
    assert not (tmp_path / ".measured.json.claim").exists()


def journal_of(tmp_path):
    watch = live(tmp_path)
    for step in (0, 1, 2):
        watch(step, tiny_model(seed=step))
    watch.end()
    path = tmp_path / "measured.json"
    return path, json.loads(path.read_text())


def sealed(content):
    content.pop("sha256", None)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": digest})


def swap(content, *names):
    a, b = content["steps"]["0"], content["steps"]["2"]
    for name in names:
        a[name], b[name] = b[name], a[name]


def deep(depth=50_000):
    return '{"of": ' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: swap(c, "key") or json.dumps(c), lambda c: swap(c, "key", "weights_sha256") or json.dumps(c),
        lambda c: c["steps"].update({"0": c["steps"]["2"]}) or sealed(c),
        lambda c: c["steps"]["0"].pop("dtype") and sealed(c),
        lambda c: c["steps"]["0"].pop("key") and sealed(c),
        lambda c: c["steps"]["0"].update(key="../../x") or sealed(c),
        lambda c: c["steps"]["0"].update(key=7) or sealed(c), lambda c: c["steps"].update({"0": []}) or sealed(c),
        lambda c: c["steps"]["0"].update(step=True) or sealed(c), lambda c: c.update(steps=[]) or sealed(c),
        lambda c: c["steps"]["0"].update(more="x") or sealed(c), lambda c: deep(), lambda c: "[" * 100_000,
        lambda c: c.update(format=3) or sealed(c), lambda c: "\x00",
    ],
)  # fmt: skip
def test_a_journal_of_another_kind_is_damaged(tmp_path, change):
    path, content = journal_of(tmp_path)
    path.write_text(change(content))
    with pytest.raises(TrainError, match="is damaged; remove or rename it"):
        live(tmp_path)


def test_sealed_entries_with_swapped_records_are_refused(tmp_path):
    path, content = journal_of(tmp_path)
    swap(content, "key")
    path.write_text(sealed(content))
    with pytest.raises(StorageError, match="the record of step 0 is not in"):
        live(tmp_path).result()


def test_a_journal_of_an_earlier_format_is_named(tmp_path):
    entry = {"weights_sha256": "a", "settings": "b", "dtype": "float32", "key": "c" * 64}
    (tmp_path / "measured.json").write_text(json.dumps({"of": "x", "model": "tiny", "steps": {"0": entry}}))
    with pytest.raises(TrainError, match="earlier format"):
        live(tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_journal_that_is_not_a_file_is_refused_by_the_constructor(tmp_path, make):
    make(tmp_path / "measured.json")
    with pytest.raises(TrainError, match="cannot be read"):
        live(tmp_path)


def test_models_of_several_formats_and_without_values(tmp_path):
    mixed = tiny_model().bfloat16()
    mixed.gpt_neox.final_layer_norm.float()
    watch = live(tmp_path)
    assert watch(0, mixed) is not None
    assert watch._journal.entries[0].dtype == "bfloat16+float32"
    with pytest.raises(MeasureError, match="meta device"):
        live(tmp_path / "other")(0, tiny_model().to("meta"))
    assert watch(1, tiny_model().to("meta")) is None


def test_a_model_with_code_of_its_own_is_measured_each_time_and_kept(tmp_path):
    model = tiny_model()
    plain = live(tmp_path / "plain")(0, model)
    layer = model.gpt_neox.layers[1]
    own = layer.forward
    layer.forward = lambda *args, **kwargs: 10 * own(*args, **kwargs)
    watch = live(tmp_path)
    shutil.copytree(tmp_path / "plain/records", tmp_path / "records")
    assert watch(0, model).top[0, 1, 0] > 2 * plain.top[0, 1, 0]
    watch.end()
    again = live(tmp_path)
    assert again(0, model) is None  # the same training, step and weights
    assert again.result().measured[0].top[0, 1, 0] > 2 * plain.top[0, 1, 0]
