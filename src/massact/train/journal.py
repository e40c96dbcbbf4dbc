"""The journal of a live measurement, which maps each step of one training to its record."""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from massact import claims
from massact.disk import read_regular, write_text
from massact.errors import TrainError
from massact.extract.protocol import MAGNITUDES

FORMAT = 2
_LARGEST_BYTES = 1 << 28
# For each path, the journal object of this process that writes to it: the last one to open it.
_writers: dict[Path, weakref.ref[Journal]] = {}


@dataclass(frozen=True)
class Entry:
    """One measured step.

    Attributes
    ----------
    weights_sha256, decoder_sha256, settings
        Of the model at that step: `massact.checkpoints.memory.MemoryIdentity`.
    dtype
        Number format of the weights; several are joined by `+`.
    keys
        Statistic -> the key of its record.
    """

    step: int
    weights_sha256: str
    decoder_sha256: str
    settings: str
    dtype: str
    keys: Mapping[str, str]

    @property
    def as_json(self) -> dict[str, Any]:
        """The entry as the journal has it: the record of magnitudes as `key`, those of other statistics by name."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "keys"}
        others = {name: key for name, key in self.keys.items() if name != MAGNITUDES}
        own |= {"key": self.keys[MAGNITUDES]} if MAGNITUDES in self.keys else {}
        return own | ({"others": others} if others else {})

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Entry:
        """The entry that the journal has so; TypeError or AttributeError when it is none."""
        own = dict(values)
        keys = dict(own.pop("others", {}).items())
        if "key" in own:
            keys = {MAGNITUDES: own.pop("key"), **keys}
        return cls(**own, keys=keys)


class Journal:
    """A JSON file of entries that states its training and carries its own hash.

    One training at a time writes to it: an open journal is claimed. Within one process the object that opened it last
    may write, and earlier ones are refused.

    Parameters
    ----------
    of
        Hash of the subject of the training and of the probe.
    model
        Its name, for people who read the file.

    Raises
    ------
    TrainError
        When the file is damaged, of an earlier format or of another training.
    """

    def __init__(self, path: Path, *, of: str, model: str) -> None:
        self.path, self.of, self.model = path, of, model
        self.entries: dict[int, Entry] = self._read()
        self._open = False

    def open(self) -> None:
        """Claim the journal for this training. Does nothing if it is already open.

        Raises
        ------
        TrainError
            When another training holds it. The message names the process.
        """
        if self._open:
            return
        claim = self._claim
        try:
            claim.parent.mkdir(parents=True, exist_ok=True)
            if not claims.take(claim) and claims.elsewhere(claim):
                raise TrainError(
                    f"{self.path} is in use by {claims.holder(claim)}",
                    "give this training its own journal, or stop the other training",
                )
            weakref.finalize(self, _release, claim, os.getpid())
        except OSError:  # a journal that cannot be claimed cannot be written: `write` reports it
            pass
        self.entries = self._read()
        _writers[self.path.absolute()] = weakref.ref(self)
        self._open = True

    def close(self) -> None:
        """Release the journal. Its content is kept."""
        if self._open and self._is_writer():
            claims.release(self._claim)
            _writers.pop(self.path.absolute(), None)
        self._open = False

    def write(self, *, without: Mapping[int, Any]) -> None:
        """Write all entries except those of the steps in `without`, and wait until they are on the disk.

        Raises
        ------
        StorageError
            When the disk cannot be written to.
        TrainError
            When another object of this process has opened the journal in the meantime.
        """
        if not self._is_writer():
            raise TrainError(
                f"{self.path} was opened by another live measurement of this process",
                "give each training its own journal",
            )
        steps = {str(step): entry.as_json for step, entry in self.entries.items() if step not in without}
        content = {"format": FORMAT, "of": self.of, "model": self.model, "steps": steps}
        write_text(self.path, json.dumps({**content, "sha256": _hash(content)}) + "\n", durable=True)

    @property
    def _claim(self) -> Path:
        return self.path.with_name(f".{self.path.name}.claim")

    def _is_writer(self) -> bool:
        writer = _writers.get(self.path.absolute())
        return writer is not None and writer() is self

    def _read(self) -> dict[int, Entry]:
        remedy = "remove or rename it and train from the start"
        try:
            text = read_regular(self.path, _LARGEST_BYTES)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise TrainError(f"{self.path} cannot be read ({error.strerror})", "give another journal") from None
        try:
            content = json.loads(text)
            if "format" not in content and content["of"] and all("key" in e for e in content["steps"].values()):
                raise TrainError(f"{self.path} has an earlier format, whose records can no longer be read", remedy)
            entries = _entries(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise TrainError(f"{self.path} is damaged", remedy) from None
        if content["of"] != self.of:
            raise TrainError(f"{self.path} belongs to another model, seed, recipe or probe", remedy)
        return entries


def _entries(content: dict[str, Any]) -> dict[int, Entry]:
    """The entries in a journal's content. ValueError, KeyError or TypeError if it is not a journal's content."""
    digest = content.pop("sha256")
    if content["format"] != FORMAT or digest != _hash(content):
        raise ValueError("its hash does not match")
    entries = {}
    for name, values in content["steps"].items():
        entry = Entry.of_json(values)
        texts = [getattr(entry, field.name) for field in fields(entry) if field.name not in ("step", "keys")]
        texts += [text for pair in entry.keys.items() for text in pair]
        if type(entry.step) is not int or str(entry.step) != name or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"the entry of step {name} is invalid")
        hashes = (entry.weights_sha256, entry.decoder_sha256, *entry.keys.values())
        if not entry.keys or any(len(text) != 64 or set(text) - set("0123456789abcdef") for text in hashes):
            raise ValueError(f"the entry of step {name} has no hashes")
        entries[entry.step] = entry
    return entries


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _release(claim: Path, pid: int) -> None:
    """Release a deleted journal's claim, unless a later object of this process uses it or this is a child process."""
    path = claim.with_name(claim.name.removeprefix(".").removesuffix(".claim")).absolute()
    writer = _writers.get(path)
    if pid == os.getpid() and (writer is None or writer() is None):
        _writers.pop(path, None)
        claims.release(claim)
