"""Public names: listed for completion, imported on first use."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import massact

ROOT = Path(__file__).parents[1]
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


def test_the_five_names_of_the_front_page_are_offered_without_loading_them():
    code = (
        "import sys, massact\nnames = {'measure', 'fit_series', 'fit_many', 'forecast', 'LiveMeasurement'}\n"
        "assert names <= set(massact.__all__) and names <= set(dir(massact))\n"
        "assert not names & set(vars(massact))\n"
        "assert not any(name.startswith(('massact.extract', 'massact.fit', 'massact.train')) for name in sys.modules)\n"
        "massact.fit_series\nassert 'torch' not in sys.modules\n"
        "import massact.stages.swept\nassert 'torch' not in sys.modules\n"  # later stages only read tables
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_under_strict_type_checking_exist():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]
    for pattern in settings["strict"]:
        assert list(ROOT.glob(pattern)), pattern
    assert (ROOT / "src/massact/py.typed").is_file()
