"""A user's own run writes to its own folder; the pipeline's outputs and the shipped artefact do not change."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from massact.architecture import Architecture
from massact.config import Config, register
from massact.disk import write_text
from massact.errors import MissingInputError
from massact.fit import fit_table
from massact.fit.schemas import fits_schema
from massact.predict import forecast
from massact.preflight import _without_hydra
from massact.settings import settings
from massact.stages import places, predict, report, track
from massact.tables import read_metadata, read_table, write_table
from massact.trajectories import RECORDS, aggregate

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src/massact/artefacts/forecast.json"


def composed(*words: str) -> Config:
    """The configuration of a command line, with Hydra knowing its words as in a job."""
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        whole = compose("config", overrides=list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(whole)
    return settings(_without_hydra(whole))


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """The pipeline's tables, of few models with few layers, and those of `mine` beside them."""
    folder = tmp_path_factory.mktemp("tables")
    shipped = ROOT / "data/trajectories/nano.parquet"
    metadata, records = read_metadata(shipped), read_table(shipped, RECORDS)
    small = sorted(
        metadata["members"], key=lambda m: (m["part"] != "grid" or m["seed"] > 0, m["architecture"]["n_layers"])
    )
    few = small[:3]
    models = {member["model"] for member in few}
    nano = records[records["model"].isin(models) & (records["seed"] == 0)]
    write_table(nano, folder / "data/trajectories/nano.parquet", RECORDS, {**metadata, "members": few})
    for member, name in zip([*few[:2], few[0]], ["pocket-a", "pocket-d", "mine"], strict=True):
        rows = nano[nano["model"] == member["model"]].assign(model=name, family="pocket", recipe="nano")
        known = {
            "model": name,
            "seed": 0,
            "architecture": member["architecture"],
            "source": "nowhere",
            "tokens_per_step": 1024,
            "checkpoints": {},
        }
        write_table(rows, folder / f"data/extracted/{name}-seed0.parquet", RECORDS, known)
        write_table(fitted(rows, member), folder / f"data/fits/{name}-seed0-eq9.parquet", fits_schema("eq9"))
    parts = [fitted(nano[nano["model"] == member["model"]], member) for member in few]
    write_table(pd.concat(parts, ignore_index=True), folder / "data/fits/nano-eq9.parquet", fits_schema("eq9"))
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for name, values in {
        "models": "pocket-a, pocket-d",
        "forms": "eq9",
        "quantities": "ratio",
        "targets": "f_end",
    }.items():
        text = re.sub(rf"(?m)^{name}: .*", f"{name}: [{values}]", text)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    write_text(folder / "src/massact/artefacts/forecast.json", SHIPPED.read_text(encoding="utf-8"))
    for name in ("predictions.csv", "report.html", "headline.txt", "track.json"):
        write_text(folder / "results" / name, "the pipeline's")
    return folder


def fitted(records: Any, member: dict[str, Any]) -> pd.DataFrame:
    series = aggregate(records, "ratio_of_means")
    return fit_table(series, member["architecture"], form="eq9", quantities=["ratio"], resamples=0)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Hydra forgets the last command line."""
    yield
    HydraConfig.instance().cfg = None


@pytest.fixture
def project(tables, tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(tables, folder)
    monkeypatch.chdir(folder)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "outputs" not in path.parts
    } | {"shipped": hashlib.sha256(SHIPPED.read_bytes()).hexdigest()}


def test_a_report_of_one_s_own_model_is_about_it_and_leaves_the_pipeline_s(project):
    before, job = hashes(project), project / "outputs/job"
    lines = report.run(composed("stage=report", "model=pocket-a", "model.name=mine"), job)
    assert lines[0].startswith("measured: 1 model, ")
    assert "not in the report, because there are none: scores and predictions" in lines
    page = (job / "results/report.html").read_text(encoding="utf-8")
    assert "mine" in page
    assert "pocket-d" not in page
    assert hashes(project) == before
    with pytest.raises(MissingInputError, match="stage=extract model=other"):
        report.run(composed("stage=report", "model=pocket-a", "model.name=other"), job)


def test_predictions_of_one_s_own_leave_the_shipped_artefact(project):
    own = project / "own.yaml"
    own.write_text((project / "params.yaml").read_text(encoding="utf-8").replace("pocket-d", "mine"), encoding="utf-8")
    before, job = hashes(project), project / "outputs/job"
    dropped = [f"~predictor.regressors.{name}" for name in ("lasso", "random_forest", "gradient_boosting", "xgboost")]
    config = composed("stage=predict", f"paths.params={own}", f'paths.artefact="{SHIPPED}"', *dropped)
    lines = predict.run(config, job)
    assert hashes(project) == before
    assert "massact forecast --artefact" in lines[-1]
    artefact = json.loads((job / "forecast.json").read_text(encoding="utf-8"))
    wanted = Architecture(n_layers=2, d_model=64, n_heads=2, d_mlp=256)
    assert len(forecast(wanted, recipe="nano", steps=[512], artefact=artefact)) == 2
    assert (job / "results/scores.csv").is_file()


def test_a_log_of_one_s_own(project):
    before, job = hashes(project), project / "outputs/job"
    uri = f"sqlite:///{project}/outputs/mlflow.db"
    track.run(composed("stage=track", "model=pocket-a", "model.name=mine", f"tracking.uri={uri}"), job)
    assert json.loads((job / "results/track.json").read_text()) == {"fit_runs": 1, "score_runs": 0}
    assert hashes(project) == before


@pytest.mark.parametrize(
    ("words", "name", "own"),
    [
        (["stage=report", "protocol=default", "paths=default"], "results", False),
        (["stage=report"], "results", False),
        (["stage=report", "protocol.aggregation=mean_of_ratios"], "results", True),
        (["stage=report", "model=pocket-a"], "results", True),
        (["stage=predict", "predictor=default", "protocol=default", "paths=default"], "artefact", False),
        (["stage=predict", "predictor.folds=3"], "artefact", True),
        (["stage=track", "tracking=mlflow", "paths=default"], "results", False),
        (["stage=gather", "paths=default"], "trajectories", False),
        (["stage=findings", "suite=nano", "fit=eq9", "protocol=default", "paths=default"], "results", False),
        (["stage=findings", "suite=nano", "fit=log"], "results", True),
        (["stage=fit_suite", "suite=nano", "fit=eq9", "protocol=default", "paths=default"], "fits", False),
        (["stage=extract", "model=pocket-a", "model.seed=0", "checkpoints=all", "probe=auto"], "extracted", False),
        (["stage=extract", "model=pocket-a", "checkpoints=quick"], "extracted", True),
        (["stage=extract", "model=pocket-a", "model.name=mine", "checkpoints=quick"], "extracted", False),
        (["stage=extract", "model=pythia-14m", "checkpoints=quick"], "extracted", False),
        (["stage=fit", "model=pocket-a", "model.seed=0", "fit=step1", "protocol=default"], "fits", False),
        (["stage=fit", "model=pocket-a", "fit.resamples=0"], "fits", True),
        (["stage=fit", "model=pocket-a", "fit=hill", "fit.resamples=0"], "fits", False),
    ],
)  # fmt: skip
def test_which_runs_are_a_users_own(tmp_path, monkeypatch, words, name, own):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    config, job = composed(*words), tmp_path / "outputs/job"
    pipeline = Path(getattr(config.paths, name))
    assert places.place(config, name, job) == (job / pipeline.name if own else pipeline)
    if own:
        explicit = composed(*words, f"paths.{name}={tmp_path}/elsewhere")
        assert places.place(explicit, name, job) == tmp_path / "elsewhere"
