import json

from massact.predict import score_all, write_outputs
from massact.predict.outputs import metrics
from tests.predict.synthetic import fits


def scored():
    options = {"ridge": {}, "lasso": {}}
    return score_all({"eq9": fits()}, quantities=["ratio"], targets=["K", "f_end"], regressors=options)


def test_metrics_are_a_few_numbers_of_each_recipe(tmp_path):
    scores, predictions = scored()
    write_outputs(scores, predictions, str(tmp_path / "results"))
    found = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert found == metrics(scores)
    assert set(found) == {"nano"}
    assert set(found["nano"]) == {"ridge", "baseline", "ridge_random_split"}
    held = scores[scores["split"] == "architecture"].groupby("regressor")["r2"].median()
    assert found["nano"]["ridge"] == round(held["ridge"], 4)
    assert found["nano"]["baseline"] == round(max(held["mean"], held["nearest"]), 4)


def test_what_was_not_scored_has_no_number():
    scores, _ = scored()
    none = metrics(scores.assign(r2=float("nan")))
    assert none == {"nano": {"ridge": None, "baseline": None, "ridge_random_split": None}}
