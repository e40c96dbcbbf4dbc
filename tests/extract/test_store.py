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
