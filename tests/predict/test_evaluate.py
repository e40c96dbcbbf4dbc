import numpy as np
import pandas as pd
import pytest

from massact.predict import caution, score_all
from massact.predict.schemas import PREDICTIONS, SCORES
from tests.predict.synthetic import SHAPES, fits

LINEAR = {"ridge": {"alpha": 0.1}, "lasso": {}}


def scores(table, targets=("K",), regressors=LINEAR, **options):
    return score_all({"eq9": table}, quantities=["ratio"], targets=targets, regressors=regressors, **options)


def r2(table, regressor, split, target="K"):
    row = table[(table["regressor"] == regressor) & (table["split"] == split) & (table["target"] == target)]
    return float(row["r2"].iloc[0])


def test_what_follows_from_the_architecture_is_found_on_architectures_held_out():
    table, predictions = scores(fits())
    assert r2(table, "ridge", "architecture") > 0.9
    assert r2(table, "ridge", "architecture") > r2(table, "mean", "architecture") + 0.5
    SCORES.validate(table)
    PREDICTIONS.validate(predictions)
    assert set(table["split"]) == {"random", "architecture"}
    assert set(table["n_architectures"]) == {len(SHAPES)}
    per_score = predictions.groupby(["regressor", "split"]).size()
    assert (per_score == sum(shape[0] for shape in SHAPES)).all()


def test_noise_is_not_predicted():
    table, _ = scores(fits(), targets=["gamma"], regressors={"ridge": {}, "random_forest": {"n_estimators": 20}})
    assert r2(table, "ridge", "architecture", "gamma") < 0.2
    assert r2(table, "random_forest", "architecture", "gamma") < 0.2


@pytest.mark.parametrize("regressor", ["ridge", "random_forest", "gradient_boosting", "xgboost", "nearest", "mean"])
def test_no_held_out_value_reaches_its_own_prediction(regressor):
    table = fits()
    changed = table.copy()
    of_m3 = changed["model"] == "m3"
    changed.loc[of_m3, "K"] = changed.loc[of_m3, "K"] * 50 + 7
    hyper = {} if regressor == "ridge" else {"n_estimators": 10}
    options = {} if regressor in ("nearest", "mean") else {regressor: hyper}
    before, after = (scores(t, regressors=options)[1] for t in (table, changed))

    def of(frame):
        rows = frame[(frame["regressor"] == regressor) & (frame["split"] == "architecture") & (frame["model"] == "m3")]
        return rows["predicted"].to_numpy()

    assert np.array_equal(of(before), of(after))


def test_seeds_of_one_architecture_stay_together():
    table = fits()
    twins = pd.concat([table, table.assign(seed=1)], ignore_index=True)
    scored, _ = scores(twins)
    row = scored[(scored["split"] == "architecture") & (scored["regressor"] == "nearest")].iloc[0]
    assert row["n_architectures"] == len(SHAPES)
    assert row["r2"] < 0.99


def test_undetermined_parameters_are_left_out_unless_asked_for():
    table = fits()
    table.loc[table["model"] == "m0", "K_determined"] = False
    assert set(scores(table)[0]["n_architectures"]) == {len(SHAPES) - 1}
    assert set(scores(table, include_undetermined=True)[0]["n_architectures"]) == {len(SHAPES)}


@pytest.mark.parametrize("shapes", [[(2, 64, 2)], [(6, 64, 2)], SHAPES[:4]])
def test_few_rows_or_architectures_give_nan_not_a_crash(shapes):
    table, _ = scores(fits(shapes))
    held_out = table[table["split"] == "architecture"]["r2"]
    assert held_out.isna().all() == (len(shapes) == 1)


def test_huge_values_stay_finite():
    table = fits()
    table["gamma"] = np.logspace(-300, 300, len(table))
    _, predictions = scores(table, targets=["gamma", "K"])
    assert np.isfinite(predictions["predicted"]).all()


def test_scores_repeat_to_the_last_bit():
    forest = {"random_forest": {"n_estimators": 10}, "xgboost": {"n_estimators": 5}}
    a, b = (scores(fits(), regressors=forest)[1] for _ in range(2))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_caution_grows_with_fewer_architectures():
    assert "means little" in caution(5)
    assert "means little" not in caution(48)
