"""Damage records, journals and claims in many ways: none is accepted, and none ends in an untyped exception.

python benchmarks/faults_records.py
python benchmarks/faults_records.py --cost 2000     # seconds to write and to read a record, for a comparison
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import shutil
import string
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from massact import claims
from massact.errors import MassactError
from massact.extract.magnitudes import magnitudes
from massact.extract.protocol import Measurement
from massact.extract.store import RecordStore

MAGIC = b"massact-record-3\n"
PARTS = {
    "weights": "w" * 64,
    "settings": "s",
    "tokens": "t" * 64,
    "sequences": 10,
    "length": 64,
    "top_k": 3,
    "dtype": "float32",
}


def measurement(seed: int, sequences: int = 10, layers: int = 6) -> Measurement:
    """Numbers that a measurement could give."""
    rng = np.random.default_rng(seed)
    top = -np.sort(-rng.uniform(2, 100, (sequences, layers, 3)).astype(np.float32), axis=2)
    places = rng.integers(0, 64, (2, *top.shape), dtype=np.int32)
    return magnitudes(top, places[0], places[1], rng.uniform(0.1, 1, top.shape[:2]).astype(np.float32))


def random_json(rng: random.Random, depth: int = 4) -> Any:
    """A random JSON value."""
    kind = rng.randrange(8 if depth else 6)
    if kind == 6:
        return [random_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        names = [
            "steps",
            "of",
            "format",
            "sha256",
            "key",
            "0",
            "parts",
            "words",
            "".join(rng.choices(string.printable, k=3)),
        ]
        return {rng.choice(names): random_json(rng, depth - 1) for _ in range(rng.randrange(6))}
    return [None, True, rng.randrange(-5, 10 ** rng.randrange(1, 40)), rng.random(), "x" * rng.randrange(70), "0"][kind]


def record_files(rng: random.Random, whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Damaged contents of one record file, by kind."""
    for place in rng.sample(range(8 * len(whole)), min(2502, 8 * len(whole))):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        yield "record: one bit flipped", bytes(content)
    for length in rng.sample(range(len(whole)), 120):
        yield "record: cut short", whole[:length]
    body = whole.removeprefix(MAGIC).partition(b"\n")[2]
    head, _, payload = body.partition(b"\n")
    for _ in range(1000):
        yield "record: sealed with another head", sealed(json.dumps(random_json(rng)).encode(), payload)
    for _ in range(1000):
        yield "record: sealed with other arrays", sealed(head, other_payload(rng))


def sealed(head: bytes, payload: bytes) -> bytes:
    """A record file whose own hash holds."""
    body = head + b"\n" + payload
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def other_payload(rng: random.Random) -> bytes:
    """Impossible arrays, or none."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    arrays = {name: array.copy() for name, array in measurement(rng.randrange(99)).arrays().items()}
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    if kind == 1:
        bad = [np.nan, np.inf, -1.0, 1e39] if array.dtype == np.float32 else [-1, 2**31 - 1]
        with np.errstate(over="ignore"):
            array.reshape(-1)[rng.randrange(array.size)] = np.array(rng.choice(bad)).astype(array.dtype)
    elif kind == 2:
        arrays[name] = rng.choice([array[:1], array[..., None], array.astype(np.float64), array[:0]]).copy()
    else:
        del arrays[name]
    return save(arrays)


def count_records(counts: dict[str, list[int]], folder: Path, rng: random.Random) -> None:
    store = RecordStore(folder)
    key = store.key(PARTS)
    store.write(key, measurement(1))
    path = store.path(key)
    for kind, content in record_files(rng, path.read_bytes()):
        path.write_bytes(content)
        held(counts, kind, lambda: store.read(key) is None)
    keys = [store.key({**PARTS, "weights": f"{number:064x}"}) for number in range(30)]
    for number, each in enumerate(keys):
        store.write(each, measurement(number))
    for a, b in permutations(keys, 2):
        kept = store.path(a).read_bytes()
        shutil.copy(store.path(b), store.path(a))
        held(counts, "record: that of another key in its place", lambda a=a: store.read(a) is None)
        store.path(a).write_bytes(kept)


def count_journals(counts: dict[str, list[int]], folder: Path, rng: random.Random) -> None:
    from massact.extract.probe import Probe
    from massact.train import LiveMeasurement, Subject
    from massact.train.journal import Entry

    store, path = RecordStore(folder / "records"), folder / "journal.json"
    subject = Subject(family="f", recipe="r", model="m", architecture={}, tokens_per_step=1)
    probe = Probe.of(np.arange(640).reshape(10, 64))
    live = LiveMeasurement(subject, probe, range(9), store=store, journal=path)
    live.open()
    for step in range(9):
        weights = f"{step:064x}"
        key = store.key({**PARTS, "weights": weights, "tokens": probe.sha256})
        store.write(key, measurement(step))
        live._journal.entries[step] = Entry(step, weights, weights, "s", "float32", {"magnitudes": key})
    live._journal.write(without={})
    live.end()
    whole = path.read_bytes()

    def read() -> dict[int, Measurement]:
        return LiveMeasurement(subject, probe, range(9), store=store, journal=path).result().measured

    if sorted(read()) != list(range(9)):
        raise SystemExit("the journal that was not damaged is not read")
    for kind, content in journal_files(rng, whole):
        path.write_bytes(content)
        held(counts, kind, lambda: not read())


def journal_files(rng: random.Random, whole: bytes) -> Iterator[tuple[str, bytes]]:
    for place in rng.sample(range(8 * (len(whole) - 1)), 2502):  # a last line feed of another kind changes nothing
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        yield "journal: one bit flipped", bytes(content)
    for length in rng.sample(range(len(whole) - 1), 120):
        yield "journal: cut short", whole[:length]
    for _ in range(1000):
        yield "journal: other JSON", json.dumps(random_json(rng)).encode()
    names = ["key", "weights_sha256", "settings", "decoder_sha256", "dtype", "step"]
    for _ in range(500):
        content = json.loads(whole)
        del content["sha256"]
        entry, name = content["steps"][str(rng.randrange(9))], rng.choice(names)
        entry[name] = random_json(rng, 2)
        yield "journal: sealed with another value", seal_journal(content)
    for a, b in combinations("012345678", 2):
        content = json.loads(whole)
        del content["sha256"]
        one, two = content["steps"][a], content["steps"][b]
        one["key"], two["key"] = two["key"], one["key"]
        yield "journal: two keys swapped, sealed", seal_journal(content)
    yield "journal: nested 100,000 deep", b'{"of":' + b"[" * 100_000


def seal_journal(content: dict[str, Any]) -> bytes:
    said = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": said}).encode()


def count_claims(counts: dict[str, list[int]], folder: Path, rng: random.Random) -> None:
    """An old claim that names no living process does not block."""
    path = folder / "a.claim"
    host = os.uname().nodename.encode()
    for number in range(1000):
        words = [rng.randbytes(rng.randrange(12)), str(rng.randrange(-9, 10**40)).encode(), b"boot/1", b"", b"\n"]
        path.write_bytes((host + b" " if number % 2 else b"") + b" ".join(rng.choices(words, k=rng.randrange(4))))
        os.utime(path, (1e9, 1e9))
        held(counts, "claim: garbage", lambda: claims.take(path) and not claims.elsewhere(path))
        claims.release(path)
        path.unlink(missing_ok=True)


def held(counts: dict[str, list[int]], kind: str, good: Callable[[], bool]) -> None:
    """Count one case. It passes if the damage was detected, or ended in one typed line."""
    tried = counts.setdefault(kind, [0, 0])
    tried[0] += 1
    try:
        tried[1] += good()
    except MassactError:
        tried[1] += 1
    except Exception as error:
        print(f"{kind}: {type(error).__name__}: {error}")


def cost(records: int) -> None:
    """Milliseconds to write and to read a record; medians."""
    with tempfile.TemporaryDirectory() as folder:
        store, found = RecordStore(Path(folder)), measurement(0)
        keys = [store.key({"n": number}) for number in range(records)]
        times: dict[str, list[float]] = {"write": [], "read": []}
        for key in keys:
            began = time.perf_counter()
            store.write(key, found, settled=False)
            times["write"].append(time.perf_counter() - began)
        for key in keys:
            began = time.perf_counter()
            store.read(key)
            times["read"].append(time.perf_counter() - began)
    print(json.dumps({name: round(1000 * float(np.median(values)), 4) for name, values in times.items()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cost", type=int, metavar="RECORDS")
    arguments = parser.parse_args()
    logging.getLogger("massact").setLevel(logging.ERROR)
    if arguments.cost:
        cost(arguments.cost)
        return
    counts: dict[str, list[int]]
    for count in (count_records, count_journals, count_claims):
        counts = {}
        with tempfile.TemporaryDirectory() as folder:
            count(counts, Path(folder), random.Random(arguments.seed))
        for kind, (tried, good) in counts.items():
            print(f"{kind:45} {tried:6} tried {good:6} held", flush=True)


if __name__ == "__main__":
    main()
