"""Public names: listed where a shell completes them, imported when they are asked for."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import massact

PACKAGES = ("checkpoints", "extract", "fit", "predict", "report", "stages", "train", "trajectories")


@pytest.mark.parametrize("name", ["massact", *(f"massact.{package}" for package in PACKAGES)])
def test_every_public_name_is_listed_and_is_there(name):
    package = importlib.import_module(name)
    assert len(package.__all__) == len(set(package.__all__)) > 0
    assert set(package.__all__) <= set(dir(package))
    for public in package.__all__:
        assert getattr(package, public) is not None, public


def test_the_main_names_are_in_massact_itself():
    from massact import Measurement, Probe, RecordStore, fit_many, fit_series, forecast, measure

    for name in (Measurement, Probe, RecordStore, fit_many, fit_series, forecast, measure):
        assert name.__module__.startswith("massact.")
    assert massact.fit.fit_series is fit_series


def test_an_unknown_name_is_an_attribute_error():
    for name in ("massact", "massact.fit"):
        with pytest.raises(AttributeError, match="has no attribute 'fit_serie'"):
            _ = importlib.import_module(name).fit_serie


def test_importing_massact_and_listing_its_names_imports_nothing_heavy():
    code = (
        "import sys, massact\nassert 'fit_series' in dir(massact)\n"
        "sys.exit(bool({'torch', 'numpy', 'pandas', 'transformers', 'lmfit', 'mlflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_completion_in_a_fresh_process_lists_the_functions():
    code = "import massact.fit as fit, massact.extract as x\nassert 'fit_many' in dir(fit) and 'measure' in dir(x)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
