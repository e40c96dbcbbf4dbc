"""The store of records: one file per (weights, tokens, statistic), complete or absent, written by one process.

A record is a line with its format, a line with the hash of the rest, a line of JSON with its key, and its arrays as
safetensors. All of it is checked. A record that is damaged, or of another format or key, counts as absent, and its
checkpoint is measured again.
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
from massact.errors import MeasureError, NotFiniteError, StorageError
from massact.extract.magnitudes import DEFAULT
from massact.extract.protocol import Measurement, RecordKind, Reduced, edits_text

_MAGIC = b"massact-record-3\n"
# Stands in place of the arrays for a checkpoint whose hidden states overflow.
_NOT_FINITE = "not_finite"
_LARGEST_BYTES = 1 << 30
_POLL_S = 0.2
_SETTLE_S = 1.0

log = logging.getLogger("massact")


class RecordKey(str):
    """The hash that identifies a record, with the parts that were hashed and the kind of record.

    A plain string serves where the parts are unknown and the record is one of magnitudes.
    """

    parts: Mapping[str, Any] | None = None
    text: str = "{}"
    kind: RecordKind = DEFAULT

    @classmethod
    def of(cls, parts: Mapping[str, Any], kind: RecordKind = DEFAULT) -> RecordKey:
        """The hash of the parts, whatever their order."""
        text = json.dumps(dict(parts), sort_keys=True)
        key = cls.known(hashlib.sha256(text.encode()).hexdigest(), kind)
        key.parts, key.text = dict(parts), text
        return key

    @classmethod
    def known(cls, text: str, kind: RecordKind) -> RecordKey:
        """A key whose hash is known but whose parts are not."""
        key = cls(text)
        key.kind = kind
        return key


class RecordStore:
    """A folder of records, each in a file named by its key.

    Parameters
    ----------
    folder
        Created with the first record. Git and DVC ignore it. A killed run continues from it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._unsettled: list[tuple[Path, int]] = []
        self._settled_at = time.monotonic()
        self._reported: set[Path] = set()

    @staticmethod
    def key(parts: Mapping[str, Any]) -> RecordKey:
        """The hash of the parts, whatever their order."""
        return RecordKey.of(parts)

    def path(self, key: str) -> Path:
        """The file of a key's record."""
        return self.folder / key[:2] / f"{key}.record"

    def read(self, key: str) -> Measurement | NotFiniteError | None:
        """The measurement, or the error that prevents one; None when there is no valid record.

        A record is valid if its hash is right, it states this key, and its arrays are of the key's kind.

        Raises
        ------
        StorageError
            When the file cannot be read.
        """
        described = self.described(key)
        return None if described is None else described[0]

    def described(self, key: str) -> tuple[Measurement | NotFiniteError, dict[str, Any]] | None:
        """The result of `read`, and the parts of the key as the record states them."""
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
        except Exception as error:  # the hash may be right and the content anything
            if path not in self._reported:
                self._reported.add(path)
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("%s is damaged (%s): its checkpoint is measured again", path, reason)
            return None

    def write(self, key: str, outcome: Measurement | NotFiniteError, *, settled: bool = True) -> None:
        """Write to a temporary file and rename it. A process killed afterwards loses nothing.

        Parameters
        ----------
        settled
            Wait until the record is on the disk, so that a power cut loses nothing either. False: a later `write`, at
            most once a second, or `settle` waits for the disk. The hash reveals a record that a power cut has torn.

        Raises
        ------
        StorageError
            When the disk cannot be written to. No partial file is left.
        MeasureError
            When the model was measured under other edits than those that the key names.
        """
        _require_edits(outcome, key)
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
        """Wait until all written records are on the disk.

        Raises
        ------
        StorageError
            When the disk cannot be written to. The record concerned is removed.
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
        """Whether another live process is measuring this key."""
        return claims.elsewhere(self._claim_path(key))

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Claim a key for measuring. Yields True, or False if another process has written the record in the meantime.

        The claim of a dead process is taken over. On another host, a process counts as dead if it has not renewed its
        claim for minutes.
        """
        path = self._claim_path(key)
        logged = False
        while not self._take(path):
            if self.read(key) is not None:
                yield False
                return
            if not logged:
                log.info("waiting for another process that measures the same checkpoint: %s", self._holder(path))
            logged = True
            time.sleep(_POLL_S)
        try:
            yield self.read(key) is None
        finally:
            claims.release(path)

    @staticmethod
    def _holder(path: Path) -> str:
        return (
            f"{claims.holder(path)}; stop it, or remove {path} if it no longer runs"
            f" (a claim that is not renewed for {claims.STALE_S / 60:.0f} minutes is taken over)"
        )

    @staticmethod
    def _remove_torn(path: Path) -> None:
        """Remove partial files of killed writers of this key, which has one writer at a time."""
        with os.scandir(path.parent) as entries:
            torn = [e.path for e in entries if e.name.startswith(f".{path.name}.") and e.name.endswith(".partial")]
        for partial in torn:
            Path(partial).unlink(missing_ok=True)

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


def _require_edits(outcome: Measurement | NotFiniteError, key: str) -> None:
    """Store nothing measured under edits as a record of the model without them, or of other edits."""
    named = _edits_in(getattr(key, "parts", None))
    if outcome.edits != named or "" in named:
        raise MeasureError(
            f"a measurement of {edits_text(outcome.edits)} cannot be the record of {edits_text(named)}",
            'end the edits first, or name each edit, and state the names as the part "edits" of the key',
        )


def _edits_in(parts: Mapping[str, Any] | None) -> tuple[str, ...]:
    return tuple((parts or {}).get("edits", ()))


def _content(outcome: Measurement | NotFiniteError, key: str) -> bytes:
    """The hashed content of a record: the key and its parts on a line of JSON, then the arrays."""
    head = f'{{"key": {json.dumps(key)}, "parts": {getattr(key, "text", "{}")}, '
    if isinstance(outcome, NotFiniteError):
        return f'{head}"{_NOT_FINITE}": {json.dumps([outcome.what, outcome.remedy])}}}\n'.encode()
    kind = getattr(key, "kind", DEFAULT)
    arrays = {name: np.ascontiguousarray(array) for name, array in outcome.arrays(kind.name).items()}
    words = {"attached": outcome.attached}
    return f'{head}"words": {json.dumps(words)}}}\n'.encode() + save(arrays)


def _parsed(content: bytes, key: str) -> tuple[Measurement | NotFiniteError, dict[str, Any]]:
    """The outcome in a record and the parts of its key. Raises an exception of any type if it is not of this key."""
    if not content.startswith(_MAGIC):
        raise ValueError("it has another format")
    head, _, body = content.removeprefix(_MAGIC).partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != head:
        raise ValueError("its hash does not match")
    line, _, payload = body.partition(b"\n")
    header = json.loads(line)
    parts = header["parts"]
    if header["key"] != key or (parts and parts != getattr(key, "parts", None) and RecordKey.of(parts) != key):
        raise ValueError(f"it is for the key {str(header['key'])[:64]}")
    if _NOT_FINITE in header:
        what, remedy = header[_NOT_FINITE]
        if not (isinstance(what, str) and isinstance(remedy, str)):
            raise ValueError("its failure is not text")
        failure = NotFiniteError(what, remedy)
        failure.edits = _edits_in(parts)
        return failure, parts
    words = header["words"]
    if set(words) - {"attached"} or not all(isinstance(word, str) for word in words.values()):
        raise ValueError("its text fields are not those of a measurement")
    arrays, kind = load(payload), getattr(key, "kind", DEFAULT)
    kind.check(arrays, parts)
    return Measurement({kind.name: Reduced(kind, arrays)}, **words, edits=_edits_in(parts)), parts
