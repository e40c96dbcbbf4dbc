"""Files of a dataset from a loopback hub: fetched once, checked against hashes, and the status of each failure."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from massact.checkpoints import hub_dataset
from massact.checkpoints.hub_dataset import Fetched, HubDataset, fetch_files
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.errors import CheckpointError
from tests.hub import commit_of, serving

NAME = "someone/measurements"
COMMIT = "c4c539ac4f8c8fc9694603895d00c1f1af940a20"
PART = "part"
NAMES = ("part/a.txt", "part/b.txt", "part/c.txt")
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Three files of one folder, and others."""
    root = tmp_path_factory.mktemp("dataset")
    for name in (*NAMES, "other/d.txt", "README.md"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"{name}: 1, 2, 3\n" * 20)
    return root


def serve(dataset, **faults):
    return serving({f"datasets/{NAME}": {COMMIT: dataset}}, **faults)


def at(tmp_path, endpoint, **other) -> HubDataset:
    return HubDataset(NAME, COMMIT, tmp_path / "ledger.json", endpoint, cache=tmp_path / "hub", **other)


def part(dataset: HubDataset) -> Fetched:
    return fetch_files(dataset, lambda name: name.startswith(f"{PART}/"))


def test_one_models_files_are_fetched_once(tmp_path, dataset, online):
    with serve(dataset) as hub:
        first = part(at(tmp_path, hub.url))
        assert (first.names, first.downloaded) == (NAMES, 3)
        assert sorted(hub.fetched()) == ["a.txt", "b.txt", "c.txt"]
        assert (first.snapshot / NAMES[0]).read_bytes() == (dataset / NAMES[0]).read_bytes()
        hub.asked.clear()
        assert part(at(tmp_path, hub.url)) == replace(first, downloaded=0)
        assert hub.asked == []
    assert part(at(tmp_path, NOWHERE, offline=True)) == replace(first, downloaded=0)


def test_a_branch_is_asked_for_each_time_and_served_by_the_cache_when_offline(tmp_path, dataset, online):
    moved = shutil.copytree(dataset, tmp_path / "moved")
    (moved / NAMES[0]).write_text("another text\n")
    where = HubDataset(NAME, "main", tmp_path / "ledger.json", cache=tmp_path / "hub")
    repository = f"datasets/{NAME}"
    with serving({repository: {"main": dataset}}) as hub:
        first = part(replace(where, endpoint=hub.url))
    assert first.commit == commit_of(repository, "main")
    assert part(replace(where, offline=True)) == replace(first, downloaded=0)
    with serving({repository: {COMMIT: moved}}, moved={"main": COMMIT}) as hub:
        second = part(replace(where, endpoint=hub.url))
    assert (second.commit, (second.snapshot / NAMES[0]).read_text()) == (COMMIT, "another text\n")
    assert part(replace(where, offline=True)) == replace(second, downloaded=0)


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path, dataset, online, monkeypatch):
    monkeypatch.setattr(hub_dataset, "free_bytes", lambda folder: 100)
    with serve(dataset) as hub, pytest.raises(SourceError, match=r"\d+ bytes needed, 100 free") as caught:
        part(at(tmp_path, hub.url))
    assert caught.value.fatal
    assert hub.fetched() == []


def test_a_missing_file_alone_is_fetched(tmp_path, dataset, online):
    with serve(dataset) as hub:
        folder = part(at(tmp_path, hub.url)).snapshot / PART
        (folder / "b.txt").unlink()
        with pytest.raises(SourceError, match=r"1 files of dataset .* not in the local cache"):
            part(at(tmp_path, hub.url, offline=True))
        hub.asked.clear()
        assert part(at(tmp_path, hub.url)).downloaded == 1
        assert set(hub.fetched()) <= {"b.txt"}


def damage(path: Path) -> None:
    """One digit of the cached content becomes another."""
    blob = path.resolve()
    content = blob.read_bytes()
    where = content.index(b"1")
    blob.write_bytes(content[:where] + b"2" + content[where + 1 :])


def test_a_damaged_cached_file_is_noticed_and_fetched_again(tmp_path, dataset, online, caplog):
    name = "a.txt"
    with serve(dataset) as hub:
        path = (part(at(tmp_path, hub.url)).snapshot / PART) / name
        damage(path)
        with pytest.raises(SourceError, match="other content than the Hub states") as caught:
            part(at(tmp_path, hub.url, offline=True))
        assert caught.value.status is CheckpointStatus.CORRUPT
        assert str(path.resolve()) in caught.value.remedy
        with caplog.at_level(logging.WARNING, logger="massact"):
            assert part(at(tmp_path, hub.url)).downloaded == 1
        assert name in caplog.text
        assert path.read_bytes() == (dataset / PART / name).read_bytes()


@pytest.mark.parametrize("fault", ["truncate", "flip"])
def test_a_file_that_comes_wrong_is_fetched_again_and_then_refused(tmp_path, dataset, online, fault):
    name = "a.txt"
    wrong = {"truncate": {name: 40}} if fault == "truncate" else {"flip": {name}}
    with serve(dataset, spoil=2, **wrong) as hub:
        assert part(at(tmp_path, hub.url)).downloaded == 3
        assert hub.fetched().count(name) >= 2
    with serve(dataset, **wrong) as hub, pytest.raises(SourceError) as caught:
        part(at(tmp_path / "other", hub.url))
    assert name in caught.value.what


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ({"/api/": 500}, "answered 500"),
        ({"/api/": 429}, "allows no more requests"),
        ({"/resolve/": 503}, "answered 503"),
        ({"/resolve/": 404}, ""),
    ],
)
def test_a_failing_hub_is_one_line_and_status_3(tmp_path, dataset, online, fail, message):
    with serve(dataset, fail=fail) as hub, pytest.raises(CheckpointError) as caught:
        part(at(tmp_path, hub.url))
    assert caught.value.exit_code == 3
    assert message in caught.value.what
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_busy_at_first_is_asked_again(tmp_path, dataset, online):
    with serve(dataset, fail={"/api/datasets": 503}, failures=2) as hub:
        assert part(at(tmp_path, hub.url)).names == NAMES


def test_no_network_and_an_unknown_dataset_are_reported(tmp_path, dataset, online):
    with pytest.raises(SourceError, match=f"no answer from {NOWHERE}"):
        part(at(tmp_path, NOWHERE))
    with serve(dataset) as hub, pytest.raises(SourceError, match="shows no repository nobody/nothing"):
        part(replace(at(tmp_path, hub.url), name="nobody/nothing"))


def test_offline_without_a_listing_the_cache_is_taken_as_it_is(tmp_path, dataset, online, caplog):
    with serve(dataset) as hub:
        part(at(tmp_path, hub.url))
    (tmp_path / "ledger.json").unlink()
    with caplog.at_level(logging.WARNING, logger="massact"):
        assert part(at(tmp_path, NOWHERE, offline=True)).names == NAMES
    assert "it may be incomplete" in caplog.text
    with pytest.raises(SourceError, match="not in the local cache"):
        part(at(tmp_path / "empty", NOWHERE, offline=True))


def test_large_files_are_checked_by_sha256_and_copies_without_links_by_size(tmp_path, online):
    for name in ("a.bin", "b"):
        (tmp_path / "data/part").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/part" / name).write_bytes(b"1" * 1000)
    with serve(tmp_path / "data") as hub:
        folder = part(at(tmp_path, hub.url)).snapshot / PART
        damage(folder / "a.bin")
        assert part(at(tmp_path, hub.url)).downloaded == 1
        assert (folder / "a.bin").read_bytes() == b"1" * 1000
    (folder / "b").unlink()
    (folder / "b").write_bytes(b"1" * 1000)
    assert part(at(tmp_path, NOWHERE, offline=True)).downloaded == 0
    (folder / "b").write_bytes(b"1" * 999)
    with pytest.raises(SourceError, match="part/b has other content"):
        part(at(tmp_path, NOWHERE, offline=True))
