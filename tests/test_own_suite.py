"""Suites from a folder outside the package: existing checkpoints, and a design that massact trains."""

from __future__ import annotations

import pytest

from massact.errors import ConfigError
from massact.preflight import preflight
from massact.tables import read_metadata
from tests.contributing import EXAMPLES, ROOT, commands, run

CONF = ROOT / "conf"
OWN = EXAMPLES / "own_suite"
AUDIT, TRAIN = commands("Add a model suite")


def test_a_model_suite_is_one_file_outside_the_package(tmp_path):
    (config,) = preflight(["model=own"], CONF, multirun=False, own=OWN)
    assert (config.model.name, config.model.recipe.tokens_per_step) == ("own", 1024)
    with pytest.raises(ConfigError, match="own"):
        preflight(["model=onw"], CONF, multirun=False, own=OWN)
    done = run(*AUDIT, f"hydra.run.dir={tmp_path}/job")
    assert done.returncode == 0, done.stderr
    assert "own-seed0: 22 checkpoints" in done.stdout


def test_a_designed_suite_is_one_file_outside_the_package(tmp_path):
    paths = [f"paths.{name}={tmp_path / name}" for name in ("runs", "records", "trajectories")]
    done = run(*TRAIN, *paths, f"hydra.run.dir={tmp_path}/job")
    assert done.returncode == 0, done.stderr
    members = read_metadata(tmp_path / "trajectories/pico.parquet")["members"]
    assert [member["status"] for member in members] == ["done"] * (3 + 4)
