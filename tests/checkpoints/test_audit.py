"""Duplicates and gaps, found without a download."""

from __future__ import annotations

import shutil

import pytest

from massact.checkpoints import CheckpointStatus, FolderSource, HubSource, SourceError, audit_table, suspects
from massact.checkpoints.audit import COLUMNS
from tests.hub import REPOSITORY, serving


@pytest.fixture
def family(weights, tmp_path):
    root = tmp_path / "family"
    for name, folder in weights.items():
        shutil.copytree(folder, root / name)
    return root


def test_a_family_whose_first_update_changes_nothing_is_not_suspect(family):
    table = audit_table(FolderSource(family))
    assert tuple(table.columns) == COLUMNS
    assert table["step"].tolist() == [0, 1, 2, 4]
    assert table["duplicate_of"].tolist() == [1, 0, -1, -1]
    assert suspects(table) == []


def test_a_copied_step_and_a_step_without_weights_are_suspect(family):
    shutil.copytree(family / "step2", family / "step8")
    (family / "step4" / "model.safetensors").unlink()
    table = audit_table(FolderSource(family))
    assert table["status"].tolist() == ["ok", "ok", "ok", "weights_missing", "ok"]
    two, four, eight = suspects(table)
    assert two == "step 2: has the weights of step 8"
    assert four.startswith("step 4: weights_missing")
    assert eight == "step 8: has the weights of step 2"


def sharded(folder, *, first: bytes, second: bytes):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text("{}")
    (folder / "model-00001-of-00002.safetensors").write_bytes(first)
    (folder / "model-00002-of-00002.safetensors").write_bytes(second)
    return folder


def whole_suite(folder):
    """pythia-12b as it is served: two steps with the final first shard, step0 = step1, step143000 = main."""
    steps = {0: (b"a0", b"b0"), 1: (b"a0", b"b0"), 49000: (b"a49", b"b49"), 50000: (b"aF", b"b50")}
    steps |= {57000: (b"a57", b"b57"), 58000: (b"aF", b"b58"), 143000: (b"aF", b"bF")}
    served = {f"step{s}": sharded(folder / str(s), first=a, second=b) for s, (a, b) in steps.items()}
    return {**served, "main": sharded(folder / "main", first=b"aF", second=b"bF")}, list(steps)


@pytest.mark.usefixtures("online")
def test_the_known_faults_of_pythia_12b_are_what_is_found(tmp_path):
    repository = "EleutherAI/pythia-12b"
    served, steps = whole_suite(tmp_path / "served")
    with serving({repository: served}) as hub:
        source = HubSource(repository, steps=steps, offline=False, endpoint=hub.url, cache=tmp_path / "hub")
        table = audit_table(source)
        assert not hub.fetched()
    assert (table["status"] == "ok").all()
    fifty, fifty_eight = suspects(table)
    shared = "shares model-00001-of-00002.safetensors with step 143000; serves the first shard of step143000"
    assert fifty.startswith(f"step 50000: {shared}")
    assert fifty_eight.startswith(f"step 58000: {shared}")
    assert table["revision_asked"].tolist()[-1] == "main"
    assert table["bytes"].tolist()[0] == 4


@pytest.mark.usefixtures("online")
def test_a_fixed_fault_is_no_longer_reported(tmp_path):
    repository = "EleutherAI/pythia-12b"
    served, steps = whole_suite(tmp_path / "served")
    served["step50000"] = sharded(tmp_path / "mended", first=b"a50", second=b"b50")
    with serving({repository: served}) as hub:
        source = HubSource(repository, steps=steps, offline=False, endpoint=hub.url, cache=tmp_path / "hub")
        assert [line.split(":")[0] for line in suspects(audit_table(source))] == ["step 58000"]


@pytest.mark.usefixtures("online")
def test_a_main_branch_that_is_not_the_last_step_is_reported(tmp_path):
    served, steps = whole_suite(tmp_path / "served")
    served["main"] = served["step57000"]
    with serving({"EleutherAI/pythia-12b": served}) as hub:
        source = HubSource("EleutherAI/pythia-12b", steps=steps, offline=False, endpoint=hub.url, cache=tmp_path)
        assert suspects(audit_table(source))[-1] == "main: is not step 143000"


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(("seed", "step"), [(9, 40000), (6, 88000), (2, 111000)])
def test_seed_revisions_without_weights_are_found(tmp_path, weights, seed, step):
    repository = f"EleutherAI/pythia-410m-seed{seed}"
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copyfile(weights["step2"] / "config.json", bare / "config.json")
    with serving({repository: {"step0": weights["step0"], f"step{step}": bare}}) as hub:
        source = HubSource(repository, steps=[0, step], offline=False, endpoint=hub.url, cache=tmp_path / "hub")
        (line,) = suspects(audit_table(source))
        assert not hub.fetched()
    assert line.startswith(f"step {step}: weights_missing")


@pytest.mark.usefixtures("online")
def test_commits_that_were_listed_before_are_not_asked_for_again(tmp_path, weights):
    repositories = {REPOSITORY: weights}
    with serving(repositories) as hub:

        def asked():
            before = hub.requests["info"]
            source = HubSource(
                REPOSITORY,
                steps=[0, 1, 2, 4],
                offline=False,
                endpoint=hub.url,
                cache=tmp_path / "hub",
                ledger=tmp_path / "ledger.json",
            )
            table = audit_table(source)
            return hub.requests["info"] - before, table

        first, table = asked()
        again, same = asked()
        (tmp_path / "ledger.json").write_text("{ torn")
        torn, _ = asked()
    assert (first, again, torn) == (6, 2, 6)  # branches, four steps and main; then branches and main
    assert table.equals(same)


@pytest.mark.usefixtures("online")
def test_a_hub_that_cannot_be_had_at_all_is_an_error(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        other = HubSource("EleutherAI/pythia-15m", steps=[0, 1], offline=False, endpoint=hub.url, cache=tmp_path)
        with pytest.raises(SourceError, match="pythia-15m"):
            audit_table(other)
    offline = HubSource(REPOSITORY, steps=[0, 1], offline=True, cache=tmp_path)
    with pytest.raises(SourceError) as caught:
        audit_table(offline)
    assert caught.value.status is CheckpointStatus.UNREACHABLE
