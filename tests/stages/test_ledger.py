"""stage=ledger on a loopback hub that serves the faults that users have reported, under their own names."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from massact.checkpoints.integrity import COLUMNS
from tests.checkpoints.replays import REPORTS
from tests.hub import serving

PADDING = 1 << 20  # headers and norms of these small files would be more than a hundredth of them
# Steps that are served. Of Pythia itself the others are missing; of the rest the hub lists them.
FEW = {0, 1, 2, 4, 1000, 54000, 56000, 141000, 142000, 143000}
STEPS = {
    "pythia-205": FEW,
    "pythia-206": FEW | {50000, 58000},
    "pythia-202": FEW | {40000},
    "pythia-203": FEW,
    "olmo-915": {100000, 101000, 102000, 175000, 300000, 309000},
    "bloom": set(range(0, 400000, 1000)),
}
PLANTED = [
    replace(REPORTS[name], files={s: labels for s, labels in REPORTS[name].files.items() if s in steps})
    for name, steps in STEPS.items()
]
SUITES = "[pythia-2.8b,pythia-12b,pythia-410m,pythia-160m-weight-seed,olmo-2-7b,bloom]"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("planted")
    return {report.repository: report.serve(root / str(k), PADDING) for k, report in enumerate(PLANTED)}


def test_every_planted_fault_is_found_for_a_hundredth_of_the_bytes(served, tmp_path, stage):
    tags = frozenset(name for name in served["bigscience/bloom-7b1-intermediate"] if name != "main")
    with serving(served, tags=tags) as hub:
        done = stage(hub.url, "stage=ledger", f"ledger.only={SUITES}", f"paths.records={tmp_path}/records")
        sent = hub.sent
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "job/ledger.csv", keep_default_na=False)
    assert tuple(table.columns) == COLUMNS
    steps = table[table["step"] >= 0]
    for report in PLANTED:
        own = steps[steps["repository"] == report.repository]
        unserved = own[~own["step"].isin(list(report.files))]
        assert set(unserved["state"]) <= {"revision_missing"}
        wrong = own[~own["state"].isin(["ok", "revision_missing"])]
        assert set(wrong["step"]) == report.wrong & set(report.files), report.where
    assert sent <= 0.01 * table["bytes"].sum()
    assert f"read {sent:,} of {table['bytes'].sum():,} bytes of weights" in done.output
    main = table[table["step"] < 0].set_index("repository")["state"].to_dict()
    assert main["allenai/OLMo-2-1124-7B"] == "other"
    assert main["EleutherAI/pythia-2.8b"] == "suspect"
    assert "6 of 24 models" in done.output


def test_an_unknown_suite_is_answered_with_the_nearest(tmp_path, stage):
    done = stage("http://127.0.0.1:9", "stage=ledger", "ledger.only=[pythia-13b]")
    assert done.exit_code == 2
    assert "pythia-12b" in done.error


def test_a_hub_that_nobody_reaches_ends_it(tmp_path, stage):
    done = stage("http://127.0.0.1:9", "stage=ledger", "ledger.only=[lucie-7b]", f"paths.records={tmp_path}/records")
    assert done.exit_code == 3
    assert "no model could be audited" in done.error
