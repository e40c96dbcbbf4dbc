"""Records that survive: one file per (weights, tokens, protocol), whole or absent, written by one process."""

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
from massact.disk import refused
from massact.errors import NotFiniteError, StorageError
from massact.extract.protocol import Measurement

_MAGIC = b"massact-record-2\n"
# A checkpoint whose hidden states overflow is remembered as such, in place of arrays.
_NOT_FINITE = "not_finite"
# How the blocks were read, beside the arrays.
_ATTACHED = "attached"
_POLL_S = 0.2
_SETTLE_S = 1.0

log = logging.getLogger("massact")


class RecordStore:
    """A folder of measurements, each under the hash of what was measured.

    Parameters
    ----------
    folder
        Made when the first record is written. Ignored by git and DVC: it is the memory of killed runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unsettled: list[tuple[Path, int]] = []
        self._settled_at = time.monotonic()

    @staticmethod
    def key(parts: Mapping[str, Any]) -> str:
        """Hash of the parts, in any order."""
        return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()

    def path(self, key: str) -> Path:
        """Where the record of a key lives."""
        return self.folder / key[:2] / f"{key}.record"

    def read(self, key: str) -> Measurement | NotFiniteError | None:
        """The measurement, or why there cannot be one; None when the record is absent or its own hash does not hold."""
        try:
            content = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(
                f"{self.path(key)} cannot be read ({error.strerror})", "set paths.records to another folder"
            ) from None
        head, _, payload = content.removeprefix(_MAGIC).partition(b"\n")
        if not content.startswith(_MAGIC) or hashlib.sha256(payload).hexdigest().encode() != head:
            return None
        arrays = load(payload)
        if _NOT_FINITE in arrays:
            return NotFiniteError(*json.loads(arrays[_NOT_FINITE].tobytes()))
        attached = arrays.pop(_ATTACHED, np.empty(0, dtype=np.uint8)).tobytes().decode()
        return Measurement(**arrays, attached=attached)

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
        if isinstance(outcome, Measurement):
            arrays = {name: np.ascontiguousarray(array) for name, array in outcome.arrays().items()}
            if outcome.attached:
                arrays[_ATTACHED] = np.frombuffer(outcome.attached.encode(), dtype=np.uint8)
        else:
            said = json.dumps([outcome.what, outcome.remedy]).encode()
            arrays = {_NOT_FINITE: np.frombuffer(said, dtype=np.uint8)}
        payload = save(arrays)
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

        The claim of a process that has died is taken over.
        """
        path = self._claim_path(key)
        told = False
        while not self._take(path):
            if self.read(key) is not None:
                yield False
                return
            if not told:
                log.info("waiting for the process that is measuring the same checkpoint (%s)", path)
            told = True
            time.sleep(_POLL_S)
        try:
            yield self.read(key) is None
        finally:
            path.unlink(missing_ok=True)

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
