"""A sweep over a failing loopback hub: a status per checkpoint, and a second run tries only the missing ones."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from massact.checkpoints import FolderSource, HubSource
from massact.errors import ConfigError
from massact.extract.options import SweepOptions
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from tests.extract.sweeping import PROBE
from tests.hub import REPOSITORY, serving, write_cache

pytestmark = pytest.mark.usefixtures("online")
STEPS = [0, 1, 2, 4]
QUIET = SweepOptions(progress=False)


def sweep(source, folder: Path, steps=STEPS, options=QUIET):
    return measure_checkpoints(
        source,
        steps,
        lambda folder: PROBE,
        RecordStore(folder / "records"),
        dtype="float32",
        device="cpu",
        label="pythia-14m",
        options=options,
    )[0]


def hub_source(hub, folder: Path, steps=STEPS, **settings) -> HubSource:
    settings = {"offline": False, "cache": folder / "hf", **settings}
    return HubSource(REPOSITORY, steps=steps, endpoint=hub.url, **settings)


def weight_files(folder: Path) -> list[Path]:
    """Contents in the cache that are as large as weights."""
    return [p for p in (folder / "hf").rglob("blobs/*") if p.is_file() and p.stat().st_size > 10_000]


def test_what_comes_from_the_hub_is_what_a_folder_gives(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        fetched = sweep(hub_source(hub, tmp_path), tmp_path)
    family = tmp_path / "family"
    for name, folder in weights.items():
        shutil.copytree(folder, family / name)
    local = sweep(FolderSource(family), tmp_path / "local")
    assert fetched.statuses() == {0: "measured", 1: "measured", 2: "measured", 4: "measured"} or (
        fetched.statuses()[1] == "stored"
    )
    for step in STEPS:
        for name, array in local.measured[step].arrays().items():
            assert np.array_equal(fetched.measured[step].arrays()[name], array)
        assert fetched.identified[step].weights_sha256 == local.identified[step].weights_sha256


def test_finished_checkpoints_leave_the_cache_unless_asked_to_stay(weights, tmp_path):
    largest = max((w / "model.safetensors").stat().st_size for w in weights.values())
    with serving({REPOSITORY: weights}) as hub:
        sweep(hub_source(hub, tmp_path), tmp_path)
        assert not [p for p in weight_files(tmp_path) if p.stat().st_size >= largest]
        kept = SweepOptions(progress=False, keep_downloads=True)
        sweep(hub_source(hub, tmp_path / "kept"), tmp_path / "kept", options=kept)
    assert len([p for p in weight_files(tmp_path / "kept") if p.stat().st_size >= largest]) == 3  # step0 = step1


def test_what_was_in_the_cache_before_stays_there(weights, tmp_path):
    write_cache(tmp_path / "hf", {REPOSITORY: {"step2": weights["step2"]}})
    with serving({REPOSITORY: weights}) as hub:
        source = hub_source(hub, tmp_path)
        sweep(source, tmp_path)
        assert [step for step in STEPS if source.cached(step)] == [2]
        assert hub.fetched().count("model.safetensors") <= 3


def test_what_one_sweep_was_asked_to_keep_the_next_does_not_take(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        source = hub_source(hub, tmp_path)
        sweep(source, tmp_path, options=SweepOptions(progress=False, keep_downloads=True))
        sweep(hub_source(hub, tmp_path), tmp_path)
        sweep(hub_source(hub, tmp_path), tmp_path / "other records")
    assert {0, 2, 4} <= {step for step in STEPS if source.cached(step)}  # step1 is step0


@pytest.mark.parametrize("fault", [{"flip": {"model.safetensors"}}, {"truncate": {"model.safetensors": 900}}])
def test_a_file_that_comes_wrong_is_fetched_again_and_then_called_corrupt(weights, tmp_path, fault):
    with serving({REPOSITORY: weights}, **fault, spoil=1) as hub:
        assert not sweep(hub_source(hub, tmp_path), tmp_path).failed
    with serving({REPOSITORY: weights}, **fault) as hub:
        spoilt = sweep(hub_source(hub, tmp_path / "b"), tmp_path / "b", [2])
        assert hub.fetched().count("model.safetensors") >= 3
    assert {step: f.status for step, f in spoilt.failed.items()} == {2: "corrupt"}


def test_one_corrupt_checkpoint_does_not_stop_the_sweep(weights, tmp_path):
    bad = shutil.copytree(weights["step2"], tmp_path / "bad")
    (bad / "model.safetensors").write_bytes(b"not weights at all")
    with serving({REPOSITORY: {**weights, "step2": bad}}) as hub:
        result = sweep(hub_source(hub, tmp_path), tmp_path)
    assert sorted(result.measured) == [0, 1, 4]
    assert result.failed[2].status == "corrupt"


def test_missing_ones_have_a_status_each_and_a_second_run_tries_only_them(weights, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copyfile(weights["step2"] / "config.json", bare / "config.json")
    served = {"step0": weights["step0"], "step1": weights["step1"], "step2": bare}
    with serving({REPOSITORY: served}) as hub:
        first = sweep(hub_source(hub, tmp_path), tmp_path)
    assert {step: f.status for step, f in first.failed.items()} == {2: "weights_missing", 4: "revision_missing"}
    assert all(f.remedy for f in first.failed.values())
    with serving({REPOSITORY: weights}) as hub:
        second = sweep(hub_source(hub, tmp_path), tmp_path)
        assert hub.fetched().count("model.safetensors") == 2
    assert not second.failed
    assert {step for step, status in second.statuses().items() if status == "measured"} == {2, 4}


@pytest.mark.parametrize("status", [429, 500])
def test_a_server_that_is_busy_for_one_checkpoint_is_tried_once_more_at_the_end(weights, tmp_path, status):
    from tests.hub import commit_of

    path = f"/resolve/{commit_of(REPOSITORY, 'step2')}/model.safetensors"
    with serving({REPOSITORY: weights}, fail={path: status}, failures=3) as hub:
        result = sweep(hub_source(hub, tmp_path), tmp_path)
    assert not result.failed
    with serving({REPOSITORY: weights}, fail={path: status}) as hub:
        result = sweep(hub_source(hub, tmp_path / "b"), tmp_path / "b")
    assert {step: f.status for step, f in result.failed.items()} == {2: "unreachable"}
    assert sorted(result.measured) == [0, 1, 4]


class Unplugging(RecordStore):
    """A store that unplugs the server once the first record is written, and plugs it in again three seconds later."""

    def __init__(self, folder: Path, hub) -> None:
        super().__init__(folder)
        self.hub, self.done = hub, False

    def write(self, key, outcome, **options) -> None:
        super().write(key, outcome, **options)
        if not self.done:
            self.done = self.hub.unplugged = True
            threading.Timer(3.0, setattr, (self.hub, "unplugged", False)).start()


@pytest.mark.parametrize("patience_s", [30.0, 0.0])
def test_a_network_that_goes_away_and_comes_back_is_waited_for(weights, tmp_path, patience_s):
    with serving({REPOSITORY: weights}) as hub:
        result, _ = measure_checkpoints(
            hub_source(hub, tmp_path),
            [0, 2, 4],
            lambda folder: PROBE,
            Unplugging(tmp_path / "records", hub),
            dtype="float32",
            device="cpu",
            label="pythia-14m",
            options=SweepOptions(progress=False, prefetch=0, patience_s=patience_s),
        )
    if patience_s:
        assert sorted(result.measured) == [0, 2, 4]
        assert not result.failed
    else:
        assert sorted(result.measured) == [0]
        assert {step: f.status for step, f in result.failed.items()} == {2: "unreachable", 4: "unreachable"}


def test_downloads_of_a_killed_sweep_and_of_a_corrupt_checkpoint_leave_the_cache_too(weights, tmp_path):
    ledger = tmp_path / "ledger.json"
    with serving({REPOSITORY: weights}, flip={"model.safetensors"}, spoil=4) as hub:
        corrupt = sweep(hub_source(hub, tmp_path, ledger=ledger), tmp_path, [2])
        assert corrupt.failed[2].status == "corrupt"
        assert not hub_source(hub, tmp_path, ledger=ledger).cached(2)
        hub_source(hub, tmp_path, ledger=ledger).resolve(4)  # a sweep that was killed after the download
        assert hub_source(hub, tmp_path, ledger=ledger).cached(4)
        sweep(hub_source(hub, tmp_path, ledger=ledger), tmp_path, [4])
        assert not hub_source(hub, tmp_path, ledger=ledger).cached(4)


def test_the_hubs_own_limits_are_waited_for():
    from massact.checkpoints.hub_errors import _asked_to_wait

    def busy(headers):
        error = OSError("429")
        error.response = SimpleNamespace(headers=headers)
        return error

    assert _asked_to_wait(busy({"RateLimit": '"api";r=0;t=55'})) == 55
    assert _asked_to_wait(busy({"RateLimit": '"api";r=12;t=55'})) == 0
    assert _asked_to_wait(busy({"Retry-After": "7"})) == 7


def test_an_answer_that_is_not_the_hubs_is_unreachable(weights, tmp_path):
    with serving({REPOSITORY: weights}, fail={"/api/": 200}) as hub:
        result = sweep(hub_source(hub, tmp_path), tmp_path)
    assert {f.status for f in result.failed.values()} <= {"unreachable", "weights_missing"}
    assert sorted(result.failed) == STEPS


def test_a_hub_that_answers_nothing_but_errors_fails_every_checkpoint(weights, tmp_path):
    with serving({REPOSITORY: weights}, fail={"/api/": 500}) as hub:
        result = sweep(hub_source(hub, tmp_path), tmp_path)
    assert {f.status for f in result.failed.values()} == {"unreachable"}
    assert sorted(result.failed) == STEPS


def test_a_server_that_is_too_slow_is_unreachable(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("massact.checkpoints.repository.TIMEOUT_S", 0.2)
    with serving({REPOSITORY: weights}, delay_s=0.5) as hub:
        result = sweep(hub_source(hub, tmp_path), tmp_path, [2])
    assert result.failed[2].status == "unreachable"


def test_offline_the_cache_alone_serves(weights, tmp_path):
    kept = SweepOptions(progress=False, keep_downloads=True)
    with serving({REPOSITORY: weights}) as hub:
        online_result = sweep(hub_source(hub, tmp_path), tmp_path, [0, 2], kept)
        asked = len(hub.asked)
        offline = sweep(hub_source(hub, tmp_path, offline=True), tmp_path / "other")
        assert len(hub.asked) == asked
    assert sorted(offline.measured) == [0, 2]
    assert {f.status for f in offline.failed.values()} == {"unreachable"}
    for step in (0, 2):
        assert np.array_equal(offline.measured[step].top, online_result.measured[step].top)


def suspect_suite(weights, folder):
    """step2 serves the weights of step4, which is the last and main."""
    return {**weights, "step2": weights["step4"], "main": weights["step4"]}


def test_suspects_are_left_out_before_anything_is_fetched_and_measured_on_request(weights, tmp_path):
    with serving({REPOSITORY: suspect_suite(weights, tmp_path)}) as hub:
        result = sweep(hub_source(hub, tmp_path), tmp_path, [1, 2])
        assert result.statuses() == {1: "measured", 2: "suspect"}
        assert result.suspects == {2: "has the weights of step 4"}
        assert hub.fetched().count("model.safetensors") == 1
        asked_for = SweepOptions(progress=False, suspects=True)
        result = sweep(hub_source(hub, tmp_path), tmp_path, [1, 2], asked_for)
    assert result.statuses() == {1: "stored", 2: "measured"}
    assert result.suspects == {2: "has the weights of step 4"}


def test_a_sweep_that_cannot_fit_is_refused_before_anything_is_fetched(weights, tmp_path):
    small = SweepOptions(progress=False, disk_gb=1e-6)
    with serving({REPOSITORY: weights}) as hub:
        with pytest.raises(ConfigError, match=r"sweep\.disk_gb"):
            sweep(hub_source(hub, tmp_path), tmp_path, options=small)
        assert "model.safetensors" not in hub.fetched()
