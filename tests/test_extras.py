"""What massact does without its optional dependencies, and what it says of those that are missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from massact.errors import MassactError, MissingExtraError
from massact.extras import CORE, EXTRAS, extras_named, lacking, require

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = {
    "sklearn": "scikit-learn", "hydra": "hydra-core", "PIL": "pillow", "yaml": "pyyaml", "xgboost": "xgboost-cpu",
    "transformer_lens": "transformer-lens",
}  # fmt: skip
# Modules are absent as if they were not installed: the finder that reads site-packages does not find them.
WITHOUT = """
import importlib.machinery, os, sys
absent = set({absent})
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)
sys.meta_path[:] = [Finder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""
MEASURE_AND_FIT = """
import massact as ma
import torch
from transformers import GPT2Config, GPT2LMHeadModel
model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=64, n_positions=16))
measured = ma.measure(model, torch.randint(0, 64, (2, 8)))
assert measured.ratio.shape == (2, 2)
assert ma.fit_series([0, 1, 2, 4, 8, 16, 32], [1, 2, 3, 4, 5, 6, 7.0], form="log").n_points == 7
forecast = ma.forecast(ma.Architecture(n_layers=6, d_model=128, n_heads=4, d_mlp=512, vocab_size=512, context=32))
assert len(forecast)
def line(call):
    try:
        call()
    except ma.MassactError as error:
        assert isinstance(error, ImportError)
        print(error)
import pandas as pd
table = pd.DataFrame({"r2": [1.0], "form": ["eq9"]})
line(lambda: ma.plot(table))
line(lambda: ma.measure_checkpoints("pythia-70m"))
from massact.cli import main
sys.stderr = sys.stdout
for words in (["run", "stage=fit"], ["measure", "pythia-70m"]):
    print(main(words))
print("imported", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def alone(code: str, absent: list[str], folder: Path) -> str:
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-c", WITHOUT.format(absent=absent) + code]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_measuring_fitting_and_forecasting_need_no_optional_module(tmp_path):
    absent = [
        *EXTRAS, "hydra", "omegaconf", "matplotlib", "jinja2", "peft", "rich", "joblib", "pyarrow",
    ]  # fmt: skip
    said = alone(MEASURE_AND_FIT, absent, tmp_path).splitlines()
    assert said[0] == "matplotlib is not installed; pip install massact"
    assert said[1] == "hydra is not installed; pip install massact"
    assert said[2:6] == ["massact: hydra is not installed; pip install massact", "2"] * 2
    imported = set(said[6].split())
    assert not imported & set(absent)
    assert {"torch", "transformers", "numpy", "scipy", "lmfit"} <= imported


STAGES = """
from massact.cli import main
sys.stderr = sys.stdout
for words in ({words}):
    print(main(["run", *words]))
from massact.mlflow_store import open_client
try:
    open_client("sqlite:///mlflow.db")
except ImportError as error:
    print(error)
"""


def test_a_stage_names_the_extra_that_it_needs(tmp_path):
    words = ["stage=run", "model=folder", "model.folder=nowhere"]
    said = alone(STAGES.format(words=f"{words},"), list(EXTRAS), tmp_path).splitlines()
    assert any(line.endswith("mlflow is not installed; pip install 'massact[mlflow]'") for line in said[:-2])
    assert said[-2:] == ["2", "mlflow is not installed; pip install 'massact[mlflow]'"]


def test_the_metadata_says_what_every_module_belongs_to():
    def names(requirements: list[str]) -> set[str]:
        return {re.match(r"[A-Za-z0-9_-]+", line)[0].replace("_", "-") for line in requirements}

    core = names(PROJECT["dependencies"])
    assert {DISTRIBUTIONS.get(module, module).replace("_", "-") for module in CORE} == core
    for module, extra in EXTRAS.items():
        assert DISTRIBUTIONS.get(module, module) in names(PROJECT["optional-dependencies"][extra]), module


def test_a_missing_module_is_one_line_and_an_import_error():
    said = r"^mlflow is not installed; pip install 'massact\[mlflow\]'$"
    with pytest.raises(ImportError, match=said) as caught, extras_named():
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow.entities")
    assert isinstance(caught.value, MassactError)
    assert caught.value.exit_code == 2
    with pytest.raises(ModuleNotFoundError, match="theirs"), extras_named():
        raise ModuleNotFoundError("No module named 'theirs'", name="theirs")
    assert lacking("theirs") is None
    require("numpy", "torch")
    assert issubclass(MissingExtraError, ImportError)
