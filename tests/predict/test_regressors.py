"""A regressor is one object; one of another package is known by registering it, or by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from massact.errors import ConfigError
from massact.predict import Regressor, register, score_all
from massact.predict.regressors import BASELINES, REGRESSORS, make_regressor, regressor_named
from tests.predict.synthetic import fits

ROOT = Path(__file__).parents[2]


class Median:
    """Predicts the median of what it was given."""

    def fit(self, x, y):
        self.value = float(np.median(y))
        return self

    def predict(self, x):
        return np.full(len(x), self.value)


@pytest.fixture
def median():
    yield register(Regressor(name="median", make=lambda seed, options: Median(**options)))
    del REGRESSORS._things["median"]


@pytest.mark.parametrize("name", sorted(REGRESSORS))
def test_every_regressor_repeats_what_it_was_told(name):
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = x @ [1.0, 2.0, 3.0]
    first, again = (make_regressor(name, 7).fit(x, y).predict(x) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (40,)


def test_a_registered_regressor_is_scored_beside_the_others(median):
    scores, predictions = score_all(
        {"eq9": fits()}, quantities=["ratio"], targets=["K"], regressors={"ridge": {}, "median": {}}
    )
    assert set(scores["regressor"]) == {"ridge", "median", *BASELINES}
    assert np.isfinite(predictions.loc[predictions["regressor"] == "median", "predicted"]).all()
    with pytest.raises(ConfigError, match=r"predictor\.regressors\.median: .*argument"):
        make_regressor("median", 0, {"alpha": 1})


def test_an_unknown_one_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="regressors = meadian is not known; nearest: "):
        regressor_named("meadian")


PLUGIN = """
import numpy as np
from massact.predict import Regressor

class Median:
    def fit(self, x, y):
        self.value = float(np.median(y))
        return self

    def predict(self, x):
        return np.full(len(x), self.value)

MEDIAN = Regressor(name="median", make=lambda seed, options: Median(**options))
"""


def test_one_of_another_package_is_one_file_and_its_entry_point(tmp_path):
    """Its name passes the check of a whole command line, and its options are tried like every other's."""
    (tmp_path / "medians.py").write_text(PLUGIN, encoding="utf-8")
    info = tmp_path / "medians-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: medians\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[massact.regressors]\nmedian = medians:MEDIAN\n", encoding="utf-8")
    code = (
        "from pathlib import Path\nfrom massact.preflight import preflight\n"
        "from massact.predict.options import check_regressors\n"
        "(config,) = preflight(['stage=predict', '+predictor.regressors.median={}'], Path('conf'), multirun=False)\n"
        "check_regressors(config.predictor.regressors, config.predictor.seed)\n"
        "print(*config.predictor.regressors)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(tmp_path)])}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "median"
