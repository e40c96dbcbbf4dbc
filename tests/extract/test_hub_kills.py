"""Kills at random moments of downloading sweeps, and two sweeps in one cache: nothing is lost or left behind."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.extract import sweeping
from tests.extract.hub_sweeping import (
    cached_weights,
    commits,
    in_child,
    partial_downloads,
    revisions_of,
    write_revisions,
)
from tests.hub import serving, write_cache

log = logging.getLogger(__name__)
pytestmark = pytest.mark.usefixtures("online")
STEPS = list(range(10))
RECORDS = len(STEPS) - 1  # step0 = step1
BEFORE = [4]  # in the cache before the first sweep
DOWNLOAD_S = 0.15


@pytest.fixture(scope="module")
def revisions(tmp_path_factory):
    return write_revisions(tmp_path_factory.mktemp("revisions"), len(STEPS))


@pytest.fixture(scope="module")
def whole(revisions, tmp_path_factory) -> tuple[bytes, float]:
    """The table of an uninterrupted sweep, and how long it takes on this machine."""
    folder = tmp_path_factory.mktemp("whole")
    with serving(revisions_of(revisions), large_file_s=DOWNLOAD_S) as hub:
        child = begun(hub.url, folder, STEPS, folder / "table.parquet")
        began = time.monotonic()
        finished(child)
    return (folder / "table.parquet").read_bytes(), time.monotonic() - began


@pytest.fixture(scope="module")
def expected(whole) -> bytes:
    return whole[0]


def begun(url: str, folder: Path, steps: list[int], table: Path | None = None):
    started = sweeping.context.Event()
    child = sweeping.context.Process(target=in_child, args=(url, folder, steps, table, started))
    child.start()
    assert started.wait(60)
    return child


def finished(child) -> None:
    child.join(60)
    assert child.exitcode == 0


def given_back(folder: Path, kept: list[int]) -> None:
    """The cache has the weights from before the first sweep, and no others, complete or partial."""
    assert not partial_downloads(folder)
    assert cached_weights(folder) == (commits(kept), len(kept))


def each_written_once(folder: Path) -> None:
    """No record was written twice; of one whose writer was killed before it could say so, there is no note."""
    assert set(Counter(sweeping.lines(folder / "diary", "wrote")).values()) <= {1}
    assert len(list((folder / "records").rglob("*.record"))) == RECORDS
    assert not list((folder / "records").rglob("*.partial"))


def test_weights_that_two_steps_share_are_fetched_once(revisions, tmp_path):
    with serving(revisions_of(revisions)) as hub:
        finished(begun(hub.url, tmp_path, STEPS))
        assert hub.count("GET", "model.safetensors") == RECORDS
    assert sorted(sweeping.lines(tmp_path / "diary", "fetch")) == [str(step) for step in STEPS if step != 1]


def killed(revisions, whole: tuple[bytes, float], root: Path, kills: int) -> None:
    expected, longest = whole
    rng, left, rounds, fell_into = random.Random(1), kills, 0, Counter()
    while left:
        folder, here = root / str(rounds), 0
        rounds += 1
        write_cache(folder / "hf", revisions_of({f"step{step}": revisions[f"step{step}"] for step in BEFORE}))
        with serving(revisions_of(revisions), large_file_s=DOWNLOAD_S) as hub:
            while left:
                child = begun(hub.url, folder, STEPS)
                child.join(rng.uniform(0.0, 0.9 * longest))
                child.kill()
                child.join()
                if child.exitcode == 0:
                    break
                assert child.exitcode == -9
                left, here = left - 1, here + 1
                fell_into["fetching"] += bool(partial_downloads(folder))
                fell_into["measuring"] += bool(list((folder / "records").rglob("*.claim")))
            finished(begun(hub.url, folder, STEPS, folder / "table.parquet"))
            assert (folder / "table.parquet").read_bytes() == expected
            each_written_once(folder)
            # One is measured and one fetched at a time; what had come whole is not fetched again.
            assert len(sweeping.lines(folder / "diary", "fetch")) <= len(STEPS) + 2 * here
            assert hub.count("GET", "model.safetensors") <= RECORDS - len(BEFORE) + here
        given_back(folder, BEFORE)
    assert fell_into["fetching"]
    assert fell_into["measuring"]
    log.info("of %d kills: %s", kills, dict(fell_into))


def test_killed_at_random_moments_it_loses_at_most_what_was_in_flight_and_leaves_nothing(revisions, whole, tmp_path):
    killed(revisions, whole, tmp_path, 12)


@pytest.mark.slow
def test_killed_fifty_times(revisions, whole, tmp_path):
    killed(revisions, whole, tmp_path, 50)


@pytest.mark.parametrize("begin", [STEPS, STEPS[::-1], STEPS[5:] + STEPS[:5]])
def test_two_sweeps_share_one_cache_that_both_clear(revisions, expected, tmp_path, begin):
    with serving(revisions_of(revisions), large_file_s=DOWNLOAD_S) as hub:
        orders = {"a": STEPS, "b": begin}
        children = [begun(hub.url, tmp_path, steps, tmp_path / name) for name, steps in orders.items()]
        for child in children:
            finished(child)
    for name in orders:
        assert (tmp_path / name).read_bytes() == expected
    each_written_once(tmp_path)
    assert len(sweeping.lines(tmp_path / "diary", "wrote")) == RECORDS
    given_back(tmp_path, [])


@pytest.mark.parametrize("seed", range(4))
def test_of_two_sweeps_in_one_cache_one_is_killed(revisions, expected, tmp_path, seed):
    rng = random.Random(seed)
    with serving(revisions_of(revisions), large_file_s=DOWNLOAD_S) as hub:
        other = begun(hub.url, tmp_path, rng.sample(STEPS, len(STEPS)), tmp_path / "other")
        doomed = begun(hub.url, tmp_path, STEPS)
        doomed.join(rng.uniform(0.2, 1.2))
        doomed.kill()
        doomed.join()
        finished(other)
    assert doomed.exitcode == -9
    assert (tmp_path / "other").read_bytes() == expected
    each_written_once(tmp_path)
    given_back(tmp_path, [])
