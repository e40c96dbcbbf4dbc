"""Reported faults, replayed on a loopback hub: what is flagged and what is trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from massact.checkpoints import HubSource
from massact.checkpoints.audit import audit, audit_table, suspects
from tests.checkpoints.replays import REPORTS, replay
from tests.hub import serving, write_cache

pytestmark = pytest.mark.usefixtures("online")


@pytest.mark.parametrize("name", REPORTS)
def test_what_is_flagged_is_what_was_reported(name, tmp_path):
    report = REPORTS[name]
    verdict = replay(report, tmp_path)
    assert verdict.missed(report) == []
    assert verdict.beyond(report) == []
    assert len(verdict.flagged) + len(verdict.trusted) == len(report.files)
    assert verdict.downloads == 0


def test_a_whole_group_with_step_0_is_suspect_and_main_is_judged(tmp_path):
    verdict = replay(REPORTS["pythia-205"], tmp_path)
    assert (len(verdict.flagged), len(verdict.trusted)) == (86, 68)
    assert verdict.main.startswith("is not step 143000; has the weights of steps 0 to 53000, 55000, 60000")
    first, second = verdict.lines
    assert "76 suspect, they look trained" in first
    assert "steps 54000, 56000 to 59000, 61000 to 64000, 143000 hold the same weights: 10 suspect" in second
    assert "stale" not in first


def test_shared_safetensors_beside_distinct_bins_are_stale(tmp_path):
    verdict = replay(REPORTS["pythia-205-bins"], tmp_path)
    assert all("the safetensors are stale" in line for line in verdict.lines)
    assert "pytorch_model.bin" in verdict.lines[0]


@pytest.mark.parametrize("name", ["pythia-205", "pythia-195", "pythia-206", "pythia-83", "olmo-915", "start-is-end"])
def test_stated_hashes_suffice_on_a_hub_without_range_requests(name, tmp_path):
    report = REPORTS[name]
    verdict = replay(report, tmp_path, whole_files=True)
    assert verdict.flagged == report.wrong
    assert verdict.looks <= 2  # no further requests
    assert verdict.downloads == 0


def test_without_range_requests_only_equal_files_are_suspect(tmp_path):
    assert replay(REPORTS["pythia-198"], tmp_path / "a", whole_files=True).flagged == {2}
    assert replay(REPORTS["late-is-start"], tmp_path / "b", whole_files=True).flagged == {0, 1, 5000, 6000}
    assert replay(REPORTS["start-is-trained"], tmp_path / "c", whole_files=True).flagged == set()


def test_main_is_consulted_when_some_steps_are_asked_for(tmp_path):
    report = REPORTS["pythia-205"]
    with serving({report.repository: report.serve(tmp_path / "served")}) as hub:
        result = audit(report.source(hub.url, tmp_path / "hub"), [0, 66000, 143000])
        looks = hub.requests["range"]
    assert result.final is not None
    assert 66000 not in result.suspects
    assert result.suspects[0].startswith("has the weights of main; they look trained (")
    assert result.suspects[143000].startswith("has the weights of step 54000")
    assert 0 < looks <= 8  # of step 0 alone


def test_a_source_of_some_steps_is_compared_with_main_too(tmp_path):
    report = REPORTS["start-is-end"]
    with serving({report.repository: report.serve(tmp_path / "served")}, whole_files=True) as hub:
        some = replace(report, files={step: report.files[step] for step in (0, 1, 1000)})  # not the last
        result = audit(some.source(hub.url, tmp_path / "hub"))
    assert set(result.suspects) == {0, 1}


def test_the_table_names_groups_and_looks(tmp_path):
    report = REPORTS["late-is-start"]
    with serving({report.repository: report.serve(tmp_path / "served")}) as hub:
        table = audit_table(report.source(hub.url, tmp_path / "hub"))
    row = table.set_index("step")
    assert row.loc[[0, 1, 5000, 6000], "group"].tolist() == ["g1"] * 4
    assert row.loc[[0, 1000, 5000], "looks"].tolist() == ["untrained", "trained", "untrained"]
    assert row.loc[143000, "group"] == row.loc[-1, "group"] == "g2"
    assert [line.split(":")[0] for line in suspects(table)] == ["step 5000", "step 6000"]


def test_reported_faults_are_named_offline(tmp_path):
    report = REPORTS["pythia-205"]
    served = report.serve(tmp_path / "served")
    write_cache(tmp_path / "hub", {report.repository: {name: served[name] for name in ("step1000", "step66000")}})
    source = HubSource(report.repository, steps=list(report.files), offline=True, cache=tmp_path / "hub")
    result = audit(source, [1000, 66000])
    assert result.suspects == {1000: "serves the weights of main (EleutherAI/pythia issue 205)"}
    assert result.final is None
