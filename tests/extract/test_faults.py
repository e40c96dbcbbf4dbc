"""A sweep over local checkpoints loses nothing: real kills, full disks and concurrent processes."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from massact.errors import StorageError
from massact.extract import provenance
from massact.extract.store import RecordStore
from tests.extract.sweeping import PROBE, context, lines, signalled, sweep, table_bytes, write_family

ROOT = Path(__file__).parents[2]
KILLS = 50
STEPS = 12


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("family"), STEPS)


def test_killed_at_fifty_random_moments_it_loses_at_most_the_one_in_flight(family, tmp_path):
    whole, _ = sweep(family, tmp_path / "whole", tmp_path / "diary")
    expected = table_bytes(whole, tmp_path / "whole.parquet")
    rng, kills, rounds = random.Random(0), 0, 0
    while kills < KILLS:
        store, diary = tmp_path / f"store{rounds}", tmp_path / f"diary{rounds}"
        rounds += 1
        killed_here = 0
        while kills < KILLS:
            started = context.Event()
            child = context.Process(target=signalled, args=(family, store, diary, started))
            child.start()
            assert started.wait(60)
            child.join(rng.uniform(0.0, 0.4))
            if child.exitcode is None:
                child.kill()
                killed_here += 1
                kills += 1
            child.join()
            if child.exitcode == 0:
                break
        result, _ = sweep(family, store, diary)
        assert table_bytes(result, tmp_path / "again.parquet") == expected
        assert len(lines(diary, "read")) <= STEPS + killed_here
        assert not list(store.rglob("*.partial")) or killed_here
        assert len(list(store.rglob("*.record"))) == STEPS
    assert kills == KILLS


def limited(family, store, diary, limit, queue):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        sweep(family, store, diary)
    except StorageError as error:
        queue.put(str(error))


def test_a_disk_that_takes_no_more_stops_the_sweep_and_leaves_nothing_half_written(family, tmp_path):
    queue = context.Queue()
    child = context.Process(target=limited, args=(family, tmp_path / "s", tmp_path / "diary", 500, queue))
    child.start()
    message = queue.get(timeout=120)
    child.join()
    assert str(tmp_path / "s") in message
    assert "bytes needed" in message
    assert "free" in message
    assert "\n" not in message
    assert not [path for path in (tmp_path / "s").rglob("*") if path.is_file()]


def test_a_full_disk_on_the_command_line_is_one_line_and_exit_3(tmp_path):
    done = subprocess.run(
        [
            sys.executable, "run.py", "stage=extract", "model=pocket-e", "probe.sequences=100", "probe.length=8",
            "checkpoints=quick", f"paths.records={tmp_path}/records", f"paths.extracted={tmp_path}/extracted",
            f"hydra.run.dir={tmp_path}/job",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)),
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    (message,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("massact:")]
    assert f"{tmp_path}/records" in message
    assert "bytes needed" in message
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.record"))
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.parquet"))


def test_two_processes_share_the_work_and_write_each_record_once(family, tmp_path):
    store, diary = tmp_path / "store", tmp_path / "diary"
    children = [context.Process(target=sweep, args=(family, store, diary)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    assert sorted(Counter(lines(diary, "wrote")).values()) == [1] * STEPS
    assert sorted(Counter(lines(diary, "read")).values()) == [1] * STEPS
    assert not list(store.rglob("*.claim"))
    result, _ = sweep(family, store, diary)
    assert not result.seconds


def test_claims_of_a_killed_sweep_do_not_hold_up_the_next(family, tmp_path):
    store = RecordStore(tmp_path / "store")
    this_process = f"{os.uname().nodename} {os.getpid()}"
    owners = [
        f"{os.uname().nodename} {dead_pid()} boot/1",
        f"{this_process} another-boot/1",
        f"{os.uname().nodename} 1 boot/1",
    ]
    for identity, owner in zip(identities(family), owners, strict=False):
        claim = store.path(provenance.record_key(identity, PROBE, "float32", "cpu")).with_suffix(".claim")
        claim.parent.mkdir(parents=True, exist_ok=True)
        claim.write_text(owner)  # dead; its number is ours now; its number is that of a living process
    began = time.monotonic()
    result, _ = sweep(family, tmp_path / "store", tmp_path / "diary")
    assert len(result.seconds) == STEPS
    assert time.monotonic() - began < 20
    assert not list((tmp_path / "store").rglob("*.claim"))


def identities(family):
    from massact.checkpoints import FolderSource

    source = FolderSource(family)
    return [source.identify(step) for step in source.steps()]


def dead_pid() -> int:
    child = context.Process(target=int)
    child.start()
    child.join()
    assert child.pid is not None
    return child.pid


def test_damaged_records_are_measured_again_and_the_others_are_not(family, tmp_path):
    store, diary = tmp_path / "store", tmp_path / "diary"
    first, _ = sweep(family, store, diary)
    records = sorted(store.rglob("*.record"))
    for path in records[:4]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    again, _ = sweep(family, store, diary)
    assert len(again.seconds) == 4
    assert table_bytes(first, tmp_path / "a.parquet") == table_bytes(again, tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PROTOCOL_VERSION", 99), ("library_versions", lambda: {"torch": "99"})],
)
def test_another_protocol_or_library_is_another_key_and_old_records_stay(family, tmp_path, monkeypatch, name, value):
    store, diary = tmp_path / "store", tmp_path / "diary"
    sweep(family, store, diary)
    before = {path.name: path.read_bytes() for path in store.rglob("*.record")}
    monkeypatch.setattr(provenance, name, value)
    result, _ = sweep(family, store, diary)
    assert len(result.seconds) == STEPS
    after = {path.name: path.read_bytes() for path in store.rglob("*.record")}
    assert len(after) == 2 * STEPS
    assert before.items() <= after.items()


def test_other_weights_under_the_same_step_are_measured_again(family, tmp_path):
    import shutil

    moved = shutil.copytree(family, tmp_path / "family")
    store, diary = tmp_path / "store", tmp_path / "diary"
    sweep(moved, store, diary)
    shutil.rmtree(moved / "step3")
    shutil.copytree(family / "step5", moved / "step3")
    shutil.rmtree(moved / "step5")
    shutil.copytree(write_family(tmp_path / "other", STEPS + 1) / f"step{STEPS}", moved / "step5")
    result, _ = sweep(moved, store, diary)
    assert sorted(result.seconds) == [5]  # step3 now has weights that are known already
