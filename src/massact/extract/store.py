"""Records that survive: one file per (weights, tokens, statistic), whole or absent, written by one process.

A record is a line that names its format, a line with the hash of all that follows, a line of JSON that says which
key it is for, and its arrays as safetensors. It is held to all of it: a record that is damaged, of another format or
of another key is as good as absent, and what it was for is measured again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from massact import claims
from massact.disk import read_regular, refused
from massact.errors import NotFiniteError, StorageError
from massact.extract.magnitudes import DEFAULT
from massact.extract.protocol import Measurement, RecordKind, Reduced

_MAGIC = b"massact-record-3\n"
# In place of arrays: a checkpoint whose hidden states overflow is remembered as such.
_NOT_FINITE = "not_finite"
_LARGEST_BYTES = 1 << 30
_POLL_S = 0.2
_SETTLE_S = 1.0

log = logging.getLogger("massact")


class RecordKey(str):
    """The hash under which a record is kept, with the parts that it is the hash of and what kind of record it is.

    A plain string is as good where the parts are not at hand and the record is one of magnitudes.
    """

    parts: Mapping[str, Any] | None = None
    text: str = "{}"
    kind: RecordKind = DEFAULT

    @classmethod
    def of(cls, parts: Mapping[str, Any], kind: RecordKind = DEFAULT) -> RecordKey:
        """Hash of the parts, in any order."""
        text = json.dumps(dict(parts), sort_keys=True)
        key = cls.known(hashlib.sha256(text.encode()).hexdigest(), kind)
        key.parts, key.text = dict(parts), text
        return key

    @classmethod
    def known(cls, text: str, kind: RecordKind) -> RecordKey:
        """A key whose hash is known and whose parts are not."""
        key = cls(text)
        key.kind = kind
        return key


class RecordStore:
    """A folder of records, each under the hash of what was measured.

    Parameters
    ----------
    folder
        Made when the first record is written. Ignored by git and DVC: it is the memory of killed runs.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._unsettled: list[tuple[Path, int]] = []
        self._settled_at = time.monotonic()
        self._told: set[Path] = set()

    @staticmethod
    def key(parts: Mapping[str, Any]) -> RecordKey:
        """Hash of the parts, in any order."""
        return RecordKey.of(parts)

    def path(self, key: str) -> Path:
        """Where the record of a key lives."""
        return self.folder / key[:2] / f"{key}.record"

    def read(self, key: str) -> Measurement | NotFiniteError | None:
        """The measurement, or why there cannot be one; None when there is no record that can be believed.

        Believed is a record whose hash holds, that says it is for this key, and whose arrays are of the key's kind.

        Raises
        ------
        StorageError
            When the disk does not let it be read.
        """
        found = self.described(key)
        return None if found is None else found[0]

    def described(self, key: str) -> tuple[Measurement | NotFiniteError, dict[str, Any]] | None:
        """What `read` gives, and the parts of the key as the record names them."""
        path = self.path(key)
        try:
            content = read_regular(path, _LARGEST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(
                f"{path} cannot be read ({error.strerror})", "move it away or set paths.records to another folder"
            ) from None
        try:
            return _parsed(content, key)
        except Exception as error:  # its hash may hold and its content be anything
            if path not in self._told:
                self._told.add(path)
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("%s is damaged (%s): what it is for is measured again", path, said)
            return None

    def write(self, key: str, outcome: Measurement | NotFiniteError, *, settled: bool = True) -> None:
        """Write to a temporary name and rename: a process killed afterwards loses nothing.

        Parameters
        ----------
        settled
            Wait until the disk has it, so that a power cut loses nothing either. False: the disk is waited for at most
            once a second, by a later `write` or by `settle`; what a power cut tears is found by its hash.

        Raises
        ------
        StorageError
            When the disk refuses; nothing half-written is left.
        """
        payload = _content(outcome, key)
        path = self.path(key)
        partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(_MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
            partial.replace(path)
            self._remove_torn(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise self._refused(error, len(payload)) from None
        self._unsettled.append((path, len(payload)))
        if settled or time.monotonic() - self._settled_at >= _SETTLE_S:
            self.settle()

    def settle(self) -> None:
        """Wait until the disk has every record written.

        Raises
        ------
        StorageError
            When the disk refuses; a record it did not take is removed.
        """
        while self._unsettled:
            path, needed = self._unsettled[-1]
            try:
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
            except FileNotFoundError:  # the folder was removed meanwhile
                pass
            except OSError as error:
                with suppress(OSError):
                    path.unlink()
                raise self._refused(error, needed) from None
            finally:
                self._unsettled.pop()
        self._settled_at = time.monotonic()

    def claimed_elsewhere(self, key: str) -> bool:
        """Whether a living process is measuring this key now."""
        return claims.elsewhere(self._claim_path(key))

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Hold the right to measure a key: True, or False once another process has written it meanwhile.

        The claim of a process that has died is taken over; of one on another host, once it has not been renewed for
        minutes.
        """
        path = self._claim_path(key)
        told = False
        while not self._take(path):
            if self.read(key) is not None:
                yield False
                return
            if not told:
                log.info("waiting for what measures the same checkpoint: %s", self._holder(path))
            told = True
            time.sleep(_POLL_S)
        try:
            yield self.read(key) is None
        finally:
            claims.release(path)

    @staticmethod
    def _holder(path: Path) -> str:
        return (
            f"{claims.holder(path)}; stop it, or remove {path} if it has gone"
            f" (a claim that is not renewed for {claims.STALE_S / 60:.0f} minutes is taken over)"
        )

    @staticmethod
    def _remove_torn(path: Path) -> None:
        """Remove what killed writers of this key left: a key has one writer at a time."""
        with os.scandir(path.parent) as entries:
            torn = [e.path for e in entries if e.name.startswith(f".{path.name}.") and e.name.endswith(".partial")]
        for left in torn:
            Path(left).unlink(missing_ok=True)

    def _claim_path(self, key: str) -> Path:
        return self.path(key).with_suffix(".claim")

    def _take(self, path: Path) -> bool:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return claims.take(path)
        except OSError as error:
            raise self._refused(error, 0) from None

    def _refused(self, error: OSError, needed: int) -> StorageError:
        return refused(error, self.folder, needed, "set paths.records to another folder")


def _content(outcome: Measurement | NotFiniteError, key: str) -> bytes:
    """What a record's hash covers: the key and its parts on a line of JSON, then the arrays."""
    said = f'{{"key": {json.dumps(key)}, "parts": {getattr(key, "text", "{}")}, '
    if isinstance(outcome, NotFiniteError):
        return f'{said}"{_NOT_FINITE}": {json.dumps([outcome.what, outcome.remedy])}}}\n'.encode()
    kind = getattr(key, "kind", DEFAULT)
    arrays = {name: np.ascontiguousarray(array) for name, array in outcome.arrays(kind.name).items()}
    words = {"attached": outcome.attached}
    return f'{said}"words": {json.dumps(words)}}}\n'.encode() + save(arrays)


def _parsed(content: bytes, key: str) -> tuple[Measurement | NotFiniteError, dict[str, Any]]:
    """The outcome in a record and the parts of its key; an exception of any kind when it is not that of this key."""
    if not content.startswith(_MAGIC):
        raise ValueError("it has another format")
    head, _, body = content.removeprefix(_MAGIC).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != head:
        raise ValueError("its hash does not hold")
    line, _, payload = body.partition(b"\n")
    said = json.loads(line)
    parts = said["parts"]
    if said["key"] != key or (parts and parts != getattr(key, "parts", None) and RecordKey.of(parts) != key):
        raise ValueError(f"it is for the key {str(said['key'])[:64]}")
    if _NOT_FINITE in said:
        what, remedy = said[_NOT_FINITE]
        if not (isinstance(what, str) and isinstance(remedy, str)):
            raise ValueError("its failure is no text")
        return NotFiniteError(what, remedy), parts
    words = said["words"]
    if set(words) - {"attached"} or not all(isinstance(word, str) for word in words.values()):
        raise ValueError("its words are not those of a measurement")
    arrays, kind = load(payload), getattr(key, "kind", DEFAULT)
    kind.check(arrays, parts)
    return Measurement({kind.name: Reduced(kind, arrays)}, **words), parts
