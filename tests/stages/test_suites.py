"""Every suite of conf/model/ by its real names, on a loopback hub with small random weights of its class."""

from __future__ import annotations

import pytest

from massact.tables import read_metadata, read_table
from massact.trajectories import RECORDS
from tests.hub import serving
from tests.suites import CONF, SUITES

PARAMETRISED = ("hub", "folder")  # whose repository or folder is the user's
# Random weights of step 0 are not Pythia's initialisation, which stage=audit knows.
PROBE = ("probe.text=random", "probe.length=8", "probe.sequences=2", "checkpoints.suspects=true")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tmp_path_factory.mktemp("suites")


def test_every_suite_is_here():
    pythia = {path.stem for path in CONF.glob("model/pythia-*.yaml") if "seed" not in path.stem}
    trained = {path.stem for path in CONF.glob("model/pocket-*.yaml")}
    rest = {path.stem for path in CONF.glob("model/*.yaml")} - pythia - trained - set(PARAMETRISED)
    assert rest == {served.suite for served in SUITES}


@pytest.mark.parametrize("served", SUITES, ids=lambda served: served.id)
def test_a_suite_is_measured_by_its_own_names(served, weights, tmp_path, stage):
    choice = (f"model={served.suite}", *served.words)
    places = [f"paths.{name}={tmp_path / name}" for name in ("records", "extracted")]
    with serving(served.revisions(weights), **served.faults()) as hub:
        done = stage(hub.url, "stage=extract", *choice, "model.architecture=null", "model.probe=null", *PROBE, *places)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "extracted").glob("*.parquet")
    records, metadata = read_table(path, RECORDS), read_metadata(path)
    first = records.groupby("step")["tokens"].first()
    seen = {int(step): None if missing else int(first[step]) for step, missing in first.isna().items()}
    assert seen == dict(served.axis)
    assert metadata.get("axis", "step") == served.axis_name
    assert all(text in done.output for text in served.said), done.output
