import multiprocessing

import pandas as pd
import pytest

from massact.errors import ConfigError
from massact.mlflow_runs import log_runs
from massact.predict import score_all
from massact.predict.tracking import SCORE, fit_runs, log_fits, log_scores
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


def nested(store):
    return [run for run in runs(store) if "mlflow.parentRunId" in run.data.tags]


def parents(store):
    return [run for run in runs(store) if "mlflow.parentRunId" not in run.data.tags]


def test_a_repeat_adds_nothing_and_a_change_updates(store):
    tables = score_all({"eq9": fits()}, quantities=["ratio"], targets=["K"], regressors=RIDGE)
    for _ in range(2):
        assert log_scores(*tables, **where(store)) == 6
        assert len(nested(store)) == 6
        assert len(parents(store)) == 1
    changed = tables[0].assign(r2=0.5)
    log_scores(changed, tables[1], **where(store))
    assert len(nested(store)) == 6
    assert {run.data.metrics["r2"] for run in nested(store)} == {0.5}
    (suite,) = parents(store)
    assert suite.data.metrics["r2_architecture/ridge"] == 0.5


def test_mlflow_lists_readable_runs_of_models_that_are_trained(store):
    from mlflow import MlflowClient

    experiment = MlflowClient(where(store)["tracking_uri"]).get_experiment_by_name("test")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    (suite,) = parents(store)
    assert suite.info.run_name == "nano: scores of eq9"
    assert "K of ratio, ridge, architectures held out" in {run.info.run_name for run in nested(store)}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested(store)} == {suite.info.run_id}
    # MLflow shows the latest first, so parents come above their nested runs.
    assert suite.info.start_time > max(run.info.start_time for run in nested(store))
    assert all(run.info.status == "FINISHED" for run in runs(store))
    assert {run.data.tags["mlflow.source.type"] for run in runs(store)} == {"LOCAL"}


def test_runs_of_the_earlier_layout_are_kept_and_nested(tmp_path):
    from mlflow import MlflowClient

    from massact.mlflow_store import key_of

    tables = score_all({"eq9": fits()}, quantities=["ratio"], targets=["K"], regressors=RIDGE)
    client = MlflowClient(where(tmp_path)["tracking_uri"])
    identity = {"kind": "score", **{name: str(tables[0].iloc[0][name]) for name in SCORE}}
    old = client.create_run(client.create_experiment("test"), run_name="flat", tags={"massact.key": key_of(identity)})
    client.log_param(old.info.run_id, "recipe", "nano")
    log_scores(*tables, **where(tmp_path))
    assert len(runs(tmp_path)) == 7
    run = client.get_run(old.info.run_id)
    assert run.data.tags["mlflow.parentRunId"] == parents(tmp_path)[0].info.run_id
    assert run.info.run_name.startswith("K of ratio")
    assert run.data.params["target"] == "K"


def measured(last=3, factor=1.0):
    """Trajectories of two layers of m0, at steps 0 to `last`."""
    rows = [
        {"family": "f", "recipe": "nano", "model": "m0", "seed": 0, "step": step, "layer": layer,
         "quantity": name, "value": factor * (step + layer)}
        for step in range(last + 1) for layer in (0, 1) for name in ("ratio", "top1")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_model_has_its_metrics_by_step_each_once(tmp_path):
    from mlflow import MlflowClient

    table = fits(shapes=[(2, 64, 2)])
    client = MlflowClient(where(tmp_path)["tracking_uri"])
    drawn = []

    def draw(rows):
        return lambda folder: (folder.mkdir(), (folder / "curves.png").write_bytes(b"x"), drawn.append(len(rows)))

    def logged(trajectories):
        log_runs(fit_runs({"eq9": table, "eq14": table}, trajectories, draw), **where(tmp_path))
        return next(run for run in parents(tmp_path) if "massact.key" in run.data.tags)

    def history(run):
        return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "ratio/layer01")]

    first = logged(measured(2))
    assert sorted(history(first)) == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert first.info.run_name == "m0 seed 0"
    assert client.list_artifacts(first.info.run_id, "figures")[0].path == "figures/curves.png"
    assert logged(measured(2)).info.run_id == first.info.run_id
    assert len(drawn) == 1  # a repeat draws nothing
    assert logged(measured(3)).info.run_id == first.info.run_id
    assert sorted(history(first)) == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]
    other = logged(measured(3, factor=2.0))
    assert other.info.run_id != first.info.run_id
    assert sorted(history(other)) == [(0, 2.0), (1, 4.0), (2, 6.0), (3, 8.0)]
    assert sorted(history(first)) == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]
    assert {run.data.tags["mlflow.parentRunId"] for run in nested(tmp_path)} == {other.info.run_id}
    assert len(nested(tmp_path)) == 2


def test_many_metrics_are_written_in_parts(tmp_path):
    table = fits(shapes=[(2, 64, 2)])
    log_runs(fit_runs({"eq9": table}, measured(600)), **where(tmp_path))
    from mlflow import MlflowClient

    client, (run,) = MlflowClient(where(tmp_path)["tracking_uri"]), parents(tmp_path)
    assert len(client.get_metric_history(run.info.run_id, "top1/layer01")) == 601


def test_a_run_says_what_it_is_and_holds_its_predictions(store):
    from mlflow import MlflowClient

    run = next(r for r in nested(store) if r.data.params.get("regressor") == "ridge")
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
    assert len(parents(tmp_path)) == 16
    runs = nested(tmp_path)
    assert len(runs) == 16
    assert {run.data.params["recipe"] for run in runs} == {"a", "b"}
    assert all("r2_ratio" in run.data.metrics for run in runs)


def test_a_store_that_cannot_be_is_named():
    with pytest.raises(ConfigError, match=r"tracking\.uri"):
        log_fits(fits(), form="eq9", tracking_uri="nonsense://x", experiment="e")
