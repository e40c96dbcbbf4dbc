"""The shipped dataset of trajectories is what its card says."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from massact.architecture import Architecture
from massact.tables import read_metadata, read_table
from massact.train.design import factors, largest_correlation
from massact.trajectories import RECORDS

ROOT = Path(__file__).parents[1]
NANO = ROOT / "data/trajectories/nano.parquet"
CARD = (ROOT / "data/README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def members() -> list[dict]:
    return read_metadata(NANO)["members"]


def test_its_bytes_are_those_that_dvc_recorded_and_the_remote_holds():
    lock = yaml.safe_load((ROOT / "data/trajectories/dvc.lock").read_text(encoding="utf-8"))
    [out] = lock["stages"]["suite@nano"]["outs"]
    assert hashlib.md5(NANO.read_bytes()).hexdigest() == out["md5"]
    assert (ROOT / "data/store/files/md5" / out["md5"][:2] / out["md5"][2:]).is_file()


def test_the_store_is_small():
    assert sum(p.stat().st_size for p in (ROOT / "data/store").rglob("*") if p.is_file()) < 120e6


def test_the_design_is_space_filling_and_replicated(members):
    grid = [m for m in members if m["part"] == "grid"]
    first = {m["model"]: Architecture(**m["architecture"]) for m in grid}
    assert len(set(first.values())) == len(first) >= 48
    assert largest_correlation(list(first.values())) < 0.25
    seeds = pd.Series([m["model"] for m in grid]).value_counts()
    assert (seeds >= 3).sum() >= 8
    columns = factors(list(first.values()))
    assert columns["n_layers"].agg(["min", "max"]).tolist() == [2, 8]
    assert (2 ** columns["log2 d_model"]).round().agg(["min", "max"]).tolist() == [48, 192]


def test_every_training_is_measured_at_forty_steps_or_more_on_ten_sequences(members):
    records = read_table(NANO, RECORDS)
    by_training = records.groupby(["model", "seed"])
    done = {(m["model"], m["seed"]): m for m in members if m["status"] == "done"}
    for key, rows in by_training:
        if key in done:
            assert rows["step"].nunique() >= 40
            assert rows["step"].max() == done[key]["step"] >= 2000
            assert rows["layer"].nunique() == done[key]["architecture"]["n_layers"]
            assert rows["sequence"].nunique() == 10
    assert set(by_training.groups) >= set(done)
    assert np.isfinite(records[["top1", "top2", "top3", "median"]]).all().all()
    assert (records["top1"] >= records["top2"]).all()
    assert (records["dimension1"] >= 0).all()


def test_every_row_says_what_its_bits_depend_on(members):
    for member in members:
        assert member["status"] in ("done", "diverged", "failed")
        assert {"processor", "threads", "torch", "transformers"} <= set(member["machine"])
        if member["status"] == "done":
            assert len(member["weights_sha256"]) == 64
            assert member["validation_loss"] < 6.3  # log 512 is what knowing nothing costs


def test_the_card_s_lines_run_and_its_numbers_are_true(members):
    [code] = re.findall(r"## The dataset of trajectories\n\n((?:    .*\n)+)", CARD)
    line = next(line.strip() for line in code.splitlines() if "nano.parquet" in line)
    scope: dict = {}
    exec("import pandas as pd\n" + line.replace("data/", f"{ROOT}/data/"), scope)  # the line a user copies
    assert len(scope["records"]) == len(read_table(NANO, RECORDS))
    assert f"{len(members)} trainings of 2,048 steps" in " ".join(CARD.split())
    assert json.dumps(read_metadata(NANO)["steps"])  # the schedule is in the file itself
    assert len(read_metadata(NANO)["steps"]) == 44
