import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from massact.errors import StorageError
from massact.extract import Measurement
from massact.extract.magnitudes import magnitudes
from massact.extract.store import RecordStore


def measurement(value: float = 1.0) -> Measurement:
    top = np.full((2, 3, 3), value, dtype=np.float32)
    places = np.zeros((2, 3, 3), dtype=np.int32)
    return magnitudes(top=top, token=places, dimension=places + 1, median=np.ones((2, 3), dtype=np.float32))


def test_what_is_written_is_read(tmp_path):
    store = RecordStore(tmp_path)
    assert store.read("ab" * 32) is None
    store.write("ab" * 32, measurement(5.0))
    back = store.read("ab" * 32)
    assert isinstance(back, Measurement)
    assert all(np.array_equal(back.arrays()[name], array) for name, array in measurement(5.0).arrays().items())


def test_a_record_says_how_its_blocks_were_read_and_an_older_one_says_nothing(tmp_path):
    store = RecordStore(tmp_path)
    for key, word in (
        ("ab" * 32, "plain hooks: TransformerLens knows no Ünbekannt"),
        ("cd" * 32, "bridge"),
        ("ef" * 32, ""),
    ):
        store.write(key, replace(measurement(), attached=word))
        back = store.read(key)
        assert isinstance(back, Measurement)
        assert back.attached == word


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


def sealed(store, key, head, payload=b""):
    """A record file with a valid hash and any content."""
    body = (head if isinstance(head, bytes) else json.dumps(head).encode()) + b"\n" + payload
    path = store.path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"massact-record-3\n" + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def test_a_record_is_accepted_only_for_its_own_key(tmp_path, caplog):
    store = RecordStore(tmp_path)
    keys = [store.key({"weights": step, "tokens": "t"}) for step in (0, 4096)]
    for key, value in zip(keys, (1.0, 7.0), strict=True):
        store.write(key, measurement(value))
    shutil.copy(store.path(keys[1]), store.path(keys[0]))
    assert store.read(keys[0]) is None
    assert caplog.text.count("is damaged") == 1
    back = store.read(keys[1])
    assert isinstance(back, Measurement) and np.all(back.top == 7.0)
    description = store.described(keys[1])
    assert description is not None and description[1] == {"weights": 4096, "tokens": "t"}


@pytest.mark.parametrize(
    "head",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"key": 1e999}', {"key": "ab" * 32},
        {"key": "ab" * 32, "parts": [], "words": {}}, {"key": "ab" * 32, "parts": {"weights": "x"}, "words": {}},
        {"key": "ab" * 32, "parts": {}, "words": {"other": "x"}}, {"key": "ab" * 32, "parts": {}, "not_finite": 3},
        {"key": "ab" * 32, "parts": {}, "not_finite": ["one"]}, {"key": "ab" * 32, "parts": {}, "not_finite": [1, 2]},
        {"key": "ab" * 32, "parts": {}, "words": {}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("payload", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"good"])
def test_a_sealed_record_of_another_kind_is_measured_again(tmp_path, head, payload):
    store = RecordStore(tmp_path)
    valid = payload == b"good" and head == {"key": "ab" * 32, "parts": {}, "words": {}}
    sealed(store, "ab" * 32, head, save(measurement().arrays()) if payload == b"good" else payload)
    assert (store.read("ab" * 32) is not None) == valid


def altered(**changes):
    arrays = {name: array.copy() for name, array in measurement(2.0).arrays().items()}
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    return {name: array for name, array in arrays.items() if array is not None}


def put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    "arrays",
    [
        altered(top=lambda a: None), altered(top=lambda a: a.astype(np.float64)), altered(token=lambda a: a[:1]),
        altered(top=lambda a: a[0]), altered(median=lambda a: a.T.copy()), altered(top=put((0, 0, 0), np.nan)),
        altered(top=put((0, 0, 0), np.inf)), altered(top=put((1, 2, 2), np.nan)), altered(top=put((0, 1, 1), 3.0)),
        altered(top=put((1, 1, 2), -1.0)), altered(median=put((0, 0), 2.5)), altered(median=put((0, 0), np.nan)),
        altered(median=put((0, 0), -1.0)), altered(token=put((0, 0, 0), -1)), altered(token=put((0, 0, 0), 8)),
        altered(dimension=put((0, 0, 0), -1)), altered(dimension=put((0, 0, 0), 2**30)),
        altered(**dict.fromkeys(["top", "token", "dimension", "median"], lambda a: a[:, :0].copy())),
        {**altered(), "more": np.zeros(1)}, altered(top=lambda a: a * 1e5),
    ],
)  # fmt: skip
def test_impossible_arrays_are_not_returned(tmp_path, arrays):
    store = RecordStore(tmp_path)
    key = store.key({"sequences": 2, "length": 8, "top_k": 3, "dtype": "float16"})
    sealed(store, key, {"key": key, "parts": key.parts, "words": {}}, save(altered()))
    assert store.read(key) is not None
    sealed(store, key, {"key": key, "parts": key.parts, "words": {}}, save(arrays))
    assert store.read(key) is None


def test_a_record_that_is_a_folder_or_a_pipe_is_one_typed_line(tmp_path):
    store = RecordStore(tmp_path)
    store.path("ab" * 32).mkdir(parents=True)
    store.path("cd" * 32).parent.mkdir(parents=True)
    os.mkfifo(store.path("cd" * 32))
    for key in ("ab" * 32, "cd" * 32):
        with pytest.raises(StorageError, match="cannot be read"):
            store.read(key)


def test_the_process_that_is_waited_for_is_named(tmp_path, caplog):
    caplog.set_level("INFO", "massact")
    store = RecordStore(tmp_path)
    claim = store.path("34" * 32).with_suffix(".claim")
    claim.parent.mkdir(parents=True)
    claim.write_text("other-host 17 boot/1/space\npython\trun.py")
    thread = threading.Timer(0.5, store.write, ("34" * 32, measurement()))
    thread.start()
    with store.claim("34" * 32) as ours:
        assert not ours
    thread.join()
    assert "process 17 on host other-host (python run.py), which renewed its claim 0 s ago" in caplog.text
    assert f"remove {claim}" in caplog.text
