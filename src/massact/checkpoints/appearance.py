"""Inspect the weights of a source's checkpoints: each distinct weight file once, without a download."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tqdm import tqdm

from massact.checkpoints.excerpt import FIRST_BYTES, Reader, file_reader, hub_reader
from massact.checkpoints.folder import FolderSource
from massact.checkpoints.hub import HubSource
from massact.checkpoints.source import CheckpointSource, Identity
from massact.checkpoints.untrained import SAMPLE, Look, look

_AT_ONCE = 8
_PROGRESS_DELAY_S = 2.0
_PYTHIA = "EleutherAI/pythia-"


@dataclass(frozen=True)
class Reading:
    """How much of the weights an inspection reads.

    Attributes
    ----------
    first_bytes
        Read at once from the start of a file, where its header is.
    sample
        Values of a matrix.
    share
        Largest share of all bytes of the weights; None: any.
    """

    first_bytes: int = FIRST_BYTES
    sample: int = SAMPLE
    share: float | None = None


class Appearance:
    """Inspects weight files and caches the results by content.

    After one failed range request no other is tried: the server does not support them.

    Parameters
    ----------
    reading
        How much may be read; None: the usual amount of every file.
    total
        Bytes of all weights, of which `reading.share` may be read.

    Attributes
    ----------
    bytes_read
        Bytes of weight files read so far.
    """

    def __init__(self, source: CheckpointSource, reading: Reading | None = None, total: int = 0) -> None:
        self.source = source
        self.reading = reading or Reading()
        self.bytes_read = 0
        self._left = math.inf if self.reading.share is None else self.reading.share * total
        self._lock = threading.Lock()
        self._looks: dict[tuple[str, str], Look] = {}
        self._silent = False

    def of(self, identity: Identity, name: str = "") -> Look:
        """Inspect one file of a checkpoint, by default the first."""
        name = name or first_file(identity)
        key = (name, identity.files.get(name, ""))
        if key not in self._looks:
            self._looks[key] = self._look(identity, name)
        return self._looks[key]

    def of_many(self, identities: Iterable[Identity]) -> dict[int, Look]:
        """Inspect the first file of each checkpoint; results by step."""
        wanted = list(identities)
        distinct = {(first_file(i), i.files.get(first_file(i), "")): i for i in wanted}
        if not distinct:
            return {}
        first, *rest = distinct.values()
        self.of(first)  # shows whether the server supports range requests
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="look") as pool:
            for _ in tqdm(
                pool.map(self.of, rest),
                "inspecting weights",
                len(rest),
                unit="checkpoint",
                delay=_PROGRESS_DELAY_S,
                leave=False,
            ):
                pass
        return {identity.step: self.of(identity) for identity in wanted}

    def _look(self, identity: Identity, name: str) -> Look:
        read, remote = self._reader(identity, name)
        if read is None or (remote and self._silent):
            return Look(answered=False)
        read = self._metered(read)
        pythia = isinstance(self.source, HubSource) and self.source.repo_id.startswith(_PYTHIA)
        result = look(
            read,
            pythia=pythia,
            whole=len(identity.files) == 1,
            first=self.reading.first_bytes,
            sample=self.reading.sample,
        )
        self._silent = self._silent or (remote and not result.answered and read(0, 1) is None)
        return result

    def _metered(self, read: Reader) -> Reader:
        """A reader that counts, and reads nothing beyond the share."""

        def metered(begin: int, length: int) -> bytes | None:
            with self._lock:
                if length > self._left:
                    return None
                self._left -= length
            content = read(begin, length)
            with self._lock:
                self.bytes_read += len(content or b"")
                self._left += length - len(content or b"")
            return content

        return metered

    def _reader(self, identity: Identity, name: str) -> tuple[Reader | None, bool]:
        """A reader of a checkpoint's file, and whether it sends requests to the Hub."""
        if not name.endswith(".safetensors"):
            return None, False
        source = self.source
        if isinstance(source, FolderSource):
            return file_reader(source.small_files(identity.step) / name), False
        if not isinstance(source, HubSource):
            return None, False
        source = source.part(identity.step)
        from massact.checkpoints.hub_cache import cached_folder

        folder = cached_folder(source.repo_id, identity.revision_loaded, source.cache)
        if folder is not None and (folder / name).is_file():
            return file_reader(folder / name), False
        if source.offline:
            return None, False
        return hub_reader(source.endpoint, source.repo_id, identity.revision_loaded, name), True


def first_file(identity: Identity) -> str:
    """Name of the first weight file, which holds the first layers."""
    return min(identity.files, default="")
