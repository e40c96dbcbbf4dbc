import multiprocessing

import pytest

from massact.errors import ConfigError
from massact.predict import score_all
from massact.predict.tracking import log_fits, log_scores
from tests.predict.synthetic import fits

RIDGE = {"ridge": {}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


def where(store):
    return {"tracking_uri": f"sqlite:///{store}/mlflow.db", "experiment": "test"}


def runs(store):
    from mlflow import MlflowClient

    client = MlflowClient(where(store)["tracking_uri"])
    experiment = client.get_experiment_by_name("test")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_repeat_adds_nothing_and_a_change_updates(store):
    tables = score_all({"eq9": fits()}, quantities=["ratio"], targets=["K"], regressors=RIDGE)
    for _ in range(2):
        assert log_scores(*tables, **where(store)) == 6
        assert len(runs(store)) == 6
    changed = tables[0].assign(r2=0.5)
    log_scores(changed, tables[1], **where(store))
    assert len(runs(store)) == 6
    assert {run.data.metrics["r2"] for run in runs(store)} == {0.5}


def test_a_run_says_what_it_is_and_holds_its_predictions(store):
    from mlflow import MlflowClient

    run = next(r for r in runs(store) if r.data.params.get("regressor") == "ridge")
    assert run.data.params["target"] == "K"
    files = MlflowClient(where(store)["tracking_uri"]).list_artifacts(run.info.run_id)
    assert [file.path for file in files] == ["predictions.csv"]
    assert list((store / "mlruns").rglob("predictions.csv"))


def _log(store, model):
    log_fits(fits(quantities=("ratio", "top1")).assign(recipe=model), form="eq9", **where(store))


def test_two_processes_at_once_lose_and_repeat_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_log, args=(tmp_path, name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
    assert [process.exitcode for process in processes] == [0, 0]
    found = runs(tmp_path)
    assert len(found) == 16
    assert {run.data.params["recipe"] for run in found} == {"a", "b"}
    assert all("r2_ratio" in run.data.metrics for run in found)


def test_a_store_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match=r"tracking\.uri"):
        log_fits(fits(), form="eq9", tracking_uri="nonsense://x", experiment="e")
