"""Optima certified by Newton's method in 60-digit arithmetic: `benchmarks/fit_certified.py` makes the file."""

import json
from pathlib import Path

import numpy as np
import pytest

from massact.fit import fit_many, fit_series

CASES = json.loads((Path(__file__).parents[1] / "data" / "certified_fits.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
@pytest.mark.parametrize("path", ["numpy", "numba"])
def test_the_engine_agrees_to_eight_digits(case, path):
    t, y = np.array(case["steps"]), np.array(case["values"])
    row = fit_many(t, y[None], form=case["form"], path=path).iloc[0]
    assert row["sse"] == pytest.approx(float(case["sse"]), rel=1e-10)
    for name, value in case["parameters"].items():
        assert row[name] == pytest.approx(float(value), rel=1e-8)


@pytest.mark.parametrize("case", [case for case in CASES if case["form"] == "eq14"], ids=lambda case: case["name"])
def test_lmfits_face_agrees_with_what_is_certified(case):
    fit = fit_series(case["steps"], case["values"], form="eq14")
    assert fit.sse == pytest.approx(float(case["sse"]), rel=1e-8)
    assert fit.best["beta"] == pytest.approx(float(case["parameters"]["beta"]), rel=1e-4)
