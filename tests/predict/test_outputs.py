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
    written = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert written == metrics(scores)
    assert set(written) == {"nano"}
    assert set(written["nano"]) == {"ridge", "baseline", "ridge_random_split"}
    held_out = scores[scores["split"] == "architecture"].groupby("regressor")["r2"].median()
    assert written["nano"]["ridge"] == round(held_out["ridge"], 4)
    assert written["nano"]["baseline"] == round(max(held_out["mean"], held_out["nearest"]), 4)


def test_what_was_not_scored_has_no_number():
    scores, _ = scored()
    none = metrics(scores.assign(r2=float("nan")))
    assert none == {"nano": {"ridge": None, "baseline": None, "ridge_random_split": None}}
