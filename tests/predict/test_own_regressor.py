"""A regressor from a file outside the package is checked and scored like any other, as CONTRIBUTING.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from tests.contributing import ROOT, commands, installed, run

FASTER = [f"~predictor.regressors.{name}" for name in ("lasso", "random_forest", "gradient_boosting", "xgboost")]


def stored_outputs(room: str, folder: Path) -> Path:
    """The pipeline's outputs in data/`room`, copied from the store: a clone's `make test` pulls no stage's output."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    hashes = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    folder.mkdir()
    for path, md5 in hashes.items():
        if Path(path).parent == Path("data", room):
            shutil.copyfile(ROOT / "data/store/files/md5" / md5[:2] / md5[2:], folder / Path(path).name)
    return folder


def test_an_installed_package_brings_it_to_the_command_line(tmp_path):
    params = re.sub("targets: .*", "targets: [f_end]", (ROOT / "params.yaml").read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    paths = [f"paths.params={tmp_path}/params.yaml", f"paths.results={tmp_path}", f"hydra.run.dir={tmp_path}/job"]
    paths += [f"paths.{room}={stored_outputs(room, tmp_path / room)}" for room in ("extracted", "fits")]
    (words,) = commands("Add a regressor")
    done = run(*words, *FASTER, *paths, env=installed(tmp_path))
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert set(scores["regressor"]) == {"ridge", "huber", "mean", "nearest"}
    assert scores.loc[scores["regressor"] == "huber", "r2"].notna().all()


def test_its_name_and_options_are_checked_with_the_whole_command_line(tmp_path):
    """Its name passes the check of a whole command line, and its options are tried like every other's."""
    code = (
        "from pathlib import Path\nfrom massact.preflight import preflight\n"
        "from massact.predict.options import check_regressors\n"
        "(config,) = preflight(['stage=predict', '+predictor.regressors.huber={}'], Path('conf'), multirun=False)\n"
        "check_regressors(config.predictor.regressors, config.predictor.seed)\n"
        "print(*config.predictor.regressors)"
    )
    command = [sys.executable, "-c", code]
    env = installed(tmp_path)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "huber"
