"""Live measurements in a real SQLite store of MLflow's."""

import fcntl
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_param
from transformers import TrainerControl, TrainerState, TrainingArguments

import massact
from massact.errors import ConfigError
from massact.extract import measure
from massact.extract.magnitudes import magnitudes
from massact.mlflow_store import valid_params
from massact.train.live_hf import TrainerMeasurement
from massact.train.live_mlflow import MlflowLogger, step_metrics
from tests.stores import BROKEN, broken_store
from tests.train.test_live_hf import fit
from tests.train.training import PROBE, TOKENS, live, same_weights, tiny_gpt2


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """One store for all tests, because creating it takes seconds. Each test has its own experiment."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def logger_of(uri, experiment, folder, **more):
    return MlflowLogger(live(folder, tiny_gpt2(), []).subject, PROBE, tracking_uri=uri, experiment=experiment, **more)


def runs(uri, experiment):
    client = MlflowClient(uri)
    entry = client.get_experiment_by_name(experiment)
    return client.search_runs([entry.experiment_id]) if entry else []


def history(uri, run, name):
    return {m.step: m.value for m in sorted(MlflowClient(uri).get_metric_history(run.info.run_id, name), key=str)}


def test_a_training_is_one_run_that_says_what_it_is(uri, tmp_path):
    model = tiny_gpt2()
    logger = logger_of(uri, "one", tmp_path)
    watch = live(tmp_path, model, [0, 1, 2], loggers=[logger])
    for step in (0, 1, 2):
        watch(step, tiny_gpt2(step))
    (run,) = runs(uri, "one")
    assert run.info.status == "RUNNING"
    watch.end()
    (run,) = runs(uri, "one")
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "family": "own", "recipe": "own", "model": "tiny", "seed": "0", "tokens_per_step": "32",
        "n_layers": "2", "d_model": "16", "n_heads": "2", "d_mlp": "64", "vocab_size": "256", "context": "8",
        "rotary_fraction": "0.0", "parallel_residual": "False",
        "probe_text": "own", "probe_length": "8", "first_token": "0",
    }  # fmt: skip
    alone = measure(tiny_gpt2(2), TOKENS)
    top1, median = alone.top[:, 1, 0].mean(dtype=np.float64), alone.median[:, 1].mean(dtype=np.float64)
    assert history(uri, run, "ratio/layer01")[2] == top1 / median
    assert history(uri, run, "top1/layer01")[2] == top1
    assert history(uri, run, "median/layer01")[2] == median
    assert sorted(history(uri, run, "ratio/layer00")) == [0, 1, 2]
    assert len(run.data.metrics) == 3 * 2


def test_a_trainer_ends_the_run_and_its_numbers_stay(uri, tmp_path):
    watch = live(tmp_path, tiny_gpt2(), [0, 2, 6], loggers=[logger_of(uri, "trainer", tmp_path)])
    measured = fit(tmp_path, [TrainerMeasurement(watch)])
    (run,) = runs(uri, "trainer")
    assert run.info.status == "FINISHED"
    assert sorted(history(uri, run, "ratio/layer01")) == [0, 2, 6]
    assert same_weights(measured, fit(tmp_path / "plain", []))


def test_after_a_kill_the_same_run_goes_on_and_no_step_is_twice(uri, tmp_path):
    first = live(tmp_path, tiny_gpt2(), range(5), loggers=[logger_of(uri, "killed", tmp_path, every_s=1e9)])
    for step in (0, 1, 2):
        first(step, tiny_gpt2(step))
    (run,) = runs(uri, "killed")
    # Only the first step has been written; the process dies here, without close().
    assert sorted(history(uri, run, "ratio/layer00")) == [0]
    second = live(tmp_path, tiny_gpt2(), range(5), loggers=[logger_of(uri, "killed", tmp_path)])
    for step in (2, 3, 4):
        second(step, tiny_gpt2(step))
    second.end()
    (again,) = runs(uri, "killed")
    assert again.info.run_id == run.info.run_id
    assert again.info.status == "FINISHED"
    recorded = MlflowClient(uri).get_metric_history(run.info.run_id, "ratio/layer00")
    assert sorted(m.step for m in recorded) == [0, 1, 2, 3, 4]


def test_another_training_of_the_same_name_has_a_run_of_its_own(uri, tmp_path):
    with logger_of(uri, "again", tmp_path, every_s=0.0) as logger:
        logger(0, measure(tiny_gpt2(0), TOKENS))
        logger(1, measure(tiny_gpt2(1), TOKENS))
    with logger_of(uri, "again", tmp_path, every_s=0.0) as logger:
        logger(0, measure(tiny_gpt2(0), TOKENS))  # begins alike
        logger(1, measure(tiny_gpt2(5), TOKENS))
    new, old = sorted(runs(uri, "again"), key=lambda run: "massact.key" not in run.data.tags)
    assert "massact.key" not in old.data.tags
    assert [run.info.status for run in (new, old)] == ["FINISHED", "FINISHED"]
    assert history(uri, old, "top1/layer00")[1] == step_metrics(measure(tiny_gpt2(1), TOKENS))["top1/layer00"]
    assert history(uri, new, "top1/layer00")[1] == step_metrics(measure(tiny_gpt2(5), TOKENS))["top1/layer00"]
    assert sorted(history(uri, new, "top1/layer00")) == [0, 1]


def test_a_training_that_goes_on_with_other_numbers_gets_one_new_run(uri, tmp_path):
    first = live(tmp_path, tiny_gpt2(), range(5), loggers=[logger_of(uri, "other", tmp_path)])
    for step in range(5):
        first(step, tiny_gpt2(step))
    first.end()
    second = live(tmp_path, tiny_gpt2(), range(5), loggers=[logger_of(uri, "other", tmp_path, every_s=0.0)])
    for step in (2, 3, 4):
        second(step, tiny_gpt2(step + 10))
    second.end()
    new, old = sorted(runs(uri, "other"), key=lambda run: "massact.key" not in run.data.tags)
    expected = {step: step_metrics(found)["top1/layer00"] for step, found in second.result().measured.items()}
    assert history(uri, new, "top1/layer00") == expected
    assert sorted(expected) == sorted(history(uri, old, "top1/layer00")) == [0, 1, 2, 3, 4]


def test_without_a_callback_in_any_order_and_closed_twice(uri, tmp_path):
    watch = live(tmp_path, tiny_gpt2(), [0, 1])
    for step in (0, 1):
        watch(step, tiny_gpt2(step))
    for _ in range(2):
        with logger_of(uri, "after", tmp_path) as logger:
            for step, measurement in reversed(watch.result().measured.items()):
                logger(step, measurement)
            logger.close()
    (run,) = runs(uri, "after")
    assert len(MlflowClient(uri).get_metric_history(run.info.run_id, "ratio/layer00")) == 2
    assert run.info.status == "FINISHED"


def test_an_error_in_training_ends_the_run_as_failed(uri, tmp_path):
    with pytest.raises(RuntimeError), logger_of(uri, "failed", tmp_path) as logger:
        logger(0, measure(tiny_gpt2(), TOKENS))
        raise RuntimeError
    assert runs(uri, "failed")[0].info.status == "FAILED"


def test_many_metrics_are_written_in_parts(uri, tmp_path):
    measurement = measure(tiny_gpt2(), TOKENS)
    with logger_of(uri, "many", tmp_path, every_s=1e9) as logger:
        for step in range(400):
            logger(step, measurement)
    (run,) = runs(uri, "many")
    assert sorted(history(uri, run, "median/layer01")) == list(range(400))


def test_a_store_that_breaks_is_warned_of_and_the_training_goes_on(uri, tmp_path, caplog):
    logger = logger_of(uri, "broken", tmp_path, every_s=0.0)
    logger(0, measure(tiny_gpt2(), TOKENS))
    client = MlflowClient(uri)
    client.delete_run(logger._run_id)
    logger(1, measure(tiny_gpt2(), TOKENS))
    assert "it is tried again" in caplog.text
    client.restore_run(logger._run_id)
    assert not history(uri, runs(uri, "broken")[0], "ratio/layer00").keys() - {0}
    logger.close()
    assert sorted(history(uri, runs(uri, "broken")[0], "ratio/layer00")) == [0, 1]


def test_what_is_not_finite_is_no_metric():
    measurement = measure(tiny_gpt2(), TOKENS)
    flat = magnitudes(
        top=measurement.top, token=measurement.token, dimension=measurement.dimension, median=measurement.median * 0
    )
    assert {name.partition("/")[0] for name in step_metrics(flat)} == {"top1", "median"}


def test_a_store_that_cannot_be_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nonsense"):
        logger_of("nonsense://x", "e", tmp_path)(0, measure(tiny_gpt2(), TOKENS))


def watched(uri, experiment, folder, **more):
    logger = logger_of(uri, experiment, folder, every_s=0.0, **more)
    watch = live(folder, tiny_gpt2(), range(4), loggers=[logger])
    for step in range(3):
        assert watch(step, tiny_gpt2(step)) is not None
    watch.end()
    return watch


def test_a_server_that_is_down_is_warned_of_once_and_logged_to_later(uri, tmp_path, caplog):
    began = time.monotonic()
    watch = watched("http://127.0.0.1:9", "down", tmp_path)
    assert time.monotonic() - began < 60
    assert caplog.text.count("it is tried again") == 1
    assert "LiveMeasurement(...).tell(MlflowLogger(...))" in caplog.text
    assert sorted(watch.result().measured) == [0, 1, 2]
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    watch.tell(logger_of(uri, "down", tmp_path))
    (run,) = runs(uri, "down")
    assert sorted(history(uri, run, "ratio/layer00")) == [0, 1, 2]


@pytest.mark.parametrize("kind", [*BROKEN, "a locked store"])
def test_a_store_that_is_none_does_not_end_a_training(uri, tmp_path, kind, caplog, monkeypatch):
    if kind == "a locked store":
        monkeypatch.setattr("massact.train.live_mlflow._WAIT_S", 0.2)
        store = tmp_path / "mlflow.db"
        lock = store.with_name("mlflow.db.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    else:
        store = broken_store(tmp_path, kind, Path(uri.removeprefix("sqlite:///")))
    content = store.read_bytes() if store.is_file() else b""
    watch = watched(f"sqlite:///{store}", "none", tmp_path)
    assert caplog.text.count("it is tried again") == 1
    assert sorted(watch.result().measured) == [0, 1, 2]
    if kind == "garbage":
        assert store.read_bytes() == content


def test_an_experiment_deleted_before_or_during_a_training_is_warned_of(uri, tmp_path, caplog):
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("deleted"))
    watched(uri, "deleted", tmp_path / "before")
    assert caplog.text.count("it is tried again") == 1
    logger = logger_of(uri, "while", tmp_path, every_s=0.0)
    watch = live(tmp_path / "while", tiny_gpt2(), range(4), loggers=[logger])
    watch(0, tiny_gpt2(0))
    client.delete_experiment(client.get_experiment_by_name("while").experiment_id)
    assert watch(1, tiny_gpt2(1)) is not None
    watch.end()
    assert sorted(watch.result().measured) == [0, 1]


def test_names_that_mlflow_refuses_are_made_valid(uri, tmp_path):
    subject = live(tmp_path, tiny_gpt2(), []).subject
    odd = {
        "heads@[4,8]": 4,
        "heads@(4;8)": 5,
        "../up": 1,
        "": 2,
        "a//b": 3,
        "x" * 300: "y" * 9000,
        **subject.architecture,
    }
    odd |= {f"extra{number}": number for number in range(120)}
    logger = MlflowLogger(replace(subject, architecture=odd), PROBE, tracking_uri=uri, experiment="odd")
    logger(0, measure(tiny_gpt2(), TOKENS))
    logger.close()
    (run,) = runs(uri, "odd")
    assert run.data.params["heads_4_8"] == "4"
    assert run.data.params["heads_4_8_2"] == "5"
    assert run.data.params["extra119"] == "119"
    assert run.data.params["n_layers"] == "2"


@given(st.dictionaries(st.text(max_size=300), st.text(), max_size=8))
def test_valid_names_are_distinct_and_what_mlflow_takes(parameters):
    valid = valid_params(parameters)
    assert len(valid) == len(parameters)
    for name, value in valid.items():
        _validate_param(name, value)


def test_one_line_logs_where_the_trainer_reports(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "one line")
    args = TrainingArguments(output_dir=str(tmp_path / "mine"), use_cpu=True, report_to=["mlflow"], seed=3)
    state, control, callback = TrainerState(max_steps=2), TrainerControl(), massact.live(probe=TOKENS)
    for step, call in enumerate((callback.on_train_begin, callback.on_step_end, callback.on_step_end)):
        state.global_step = step
        call(args, state, control, model=tiny_gpt2(step))
    callback.on_train_end(args, state, control, model=tiny_gpt2(2))
    (run,) = runs(uri, "one line")
    assert (run.data.params["model"], run.data.params["seed"]) == ("mine", "3")
    assert "tokens_per_step" not in run.data.params
    assert sorted(history(uri, run, "ratio/layer01")) == [0, 1, 2]
