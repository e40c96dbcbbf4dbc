import errno
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.errors import StorageError
from massact.extract import Measurement
from massact.extract.store import RecordStore


def measurement(value: float = 1.0) -> Measurement:
    top = np.full((2, 3, 3), value, dtype=np.float32)
    places = np.zeros((2, 3, 3), dtype=np.int32)
    return Measurement(top=top, token=places, dimension=places + 1, median=np.ones((2, 3), dtype=np.float32))


def test_what_is_written_is_read(tmp_path):
    store = RecordStore(tmp_path)
    assert store.read("ab" * 32) is None
    store.write("ab" * 32, measurement(5.0))
    back = store.read("ab" * 32)
    assert isinstance(back, Measurement)
    assert all(np.array_equal(back.arrays()[name], array) for name, array in measurement(5.0).arrays().items())


@given(st.data())
def test_any_damaged_byte_makes_the_record_unread(tmp_path_factory, data):
    store = RecordStore(tmp_path_factory.mktemp("store"))
    store.write("cd" * 32, measurement())
    path = store.path("cd" * 32)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    assert store.read("cd" * 32) is None
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content) - 1))]))
    assert store.read("cd" * 32) is None


@given(st.dictionaries(st.text(min_size=1), st.one_of(st.integers(), st.text()), min_size=1))
def test_key_depends_on_content_not_order(parts):
    backwards = dict(reversed(parts.items()))
    assert RecordStore.key(parts) == RecordStore.key(backwards)
    assert RecordStore.key({**parts, "more": 1}) != RecordStore.key({**parts, "more": 2})


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(StorageError, match=r"cannot be written"):
        RecordStore(blocker).write("ef" * 32, measurement())


def _write_and_die(folder):
    RecordStore(folder).write("56" * 32, measurement(7.0), settled=False)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_record_outlives_a_process_killed_before_the_disk_was_waited_for(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    back = RecordStore(tmp_path).read("56" * 32)
    assert isinstance(back, Measurement) and np.all(back.top == 7.0)


def test_unsettled_records_wait_for_the_disk_together(tmp_path, monkeypatch):
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    store = RecordStore(tmp_path)
    for key in ("a1" * 32, "a2" * 32):
        store.write(key, measurement(), settled=False)
    assert not flushed
    store.settle()
    assert len(flushed) == 2
    store.settle()
    assert len(flushed) == 2
    store.write("a3" * 32, measurement())
    assert len(flushed) == 3


def test_a_record_that_the_disk_did_not_take_is_removed(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = RecordStore(tmp_path)
    store.write("b1" * 32, measurement())
    store.write("b2" * 32, measurement(), settled=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"No space left on device; [1-9]\d+ bytes needed"):
            store.settle()
    assert store.read("b2" * 32) is None
    assert store.read("b1" * 32) is not None
    store.settle()


def test_what_a_killed_writer_left_goes_when_its_key_is_written(tmp_path):
    store = RecordStore(tmp_path)
    path = store.path("c1" * 32)
    path.parent.mkdir(parents=True)
    torn = path.with_name(f".{path.name}.elsewhere.1.partial")
    other = path.with_name(f".{path.stem[:-1]}2.record.elsewhere.1.partial")
    for left in (torn, other):
        left.write_bytes(b"half")
    store.write("c1" * 32, measurement())
    assert not torn.exists()
    assert other.exists()


def _compete(folder, queue):
    store = RecordStore(folder)
    with store.claim("12" * 32) as ours:
        if ours:
            time.sleep(0.3)
            store.write("12" * 32, measurement())
        queue.put(ours)


def test_two_processes_measure_a_key_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_compete, args=(tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    answers = sorted(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert answers == [False, True]
    assert not list(tmp_path.rglob("*.claim"))


def _hold(folder, ready):
    with RecordStore(folder).claim("34" * 32):
        ready.set()
        time.sleep(60)


def test_the_claim_of_a_killed_process_is_taken_over(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with RecordStore(tmp_path).claim("34" * 32) as ours:
        assert ours
