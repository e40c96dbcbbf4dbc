"""What the checkpoints of a source look like: each distinct weight file is looked at once, without a download."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from massact.checkpoints.excerpt import Reader, file_reader, hub_reader
from massact.checkpoints.folder import FolderSource
from massact.checkpoints.hub import HubSource
from massact.checkpoints.source import CheckpointSource, Identity
from massact.checkpoints.untrained import Look, look

_AT_ONCE = 8
_SAID_AFTER_S = 2.0
_PYTHIA = "EleutherAI/pythia-"


class Appearance:
    """Looks at weight files, remembered by content.

    Once a file could not be read by range requests no other is tried: the server does not answer them.
    """

    def __init__(self, source: CheckpointSource) -> None:
        self.source = source
        self._looks: dict[tuple[str, str], Look] = {}
        self._silent = False

    def of(self, identity: Identity, name: str = "") -> Look:
        """Look at one file of a checkpoint, by default its first."""
        name = name or first_file(identity)
        key = (name, identity.files.get(name, ""))
        if key not in self._looks:
            self._looks[key] = self._look(identity, name)
        return self._looks[key]

    def of_many(self, identities: Iterable[Identity]) -> dict[int, Look]:
        """Looks at the first file of each checkpoint, by step."""
        wanted = list(identities)
        distinct = {(first_file(i), i.files.get(first_file(i), "")): i for i in wanted}
        if not distinct:
            return {}
        first, *rest = distinct.values()
        self.of(first)  # it tells whether the server answers
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="look") as pool:
            for _ in tqdm(
                pool.map(self.of, rest),
                "looking at weights",
                len(rest),
                unit="checkpoint",
                delay=_SAID_AFTER_S,
                leave=False,
            ):
                pass
        return {identity.step: self.of(identity) for identity in wanted}

    def _look(self, identity: Identity, name: str) -> Look:
        read, remote = self._reader(identity, name)
        if read is None or (remote and self._silent):
            return Look(answered=False)
        pythia = isinstance(self.source, HubSource) and self.source.repo_id.startswith(_PYTHIA)
        found = look(read, pythia=pythia, whole=len(identity.files) == 1)
        self._silent = self._silent or (remote and not found.answered and read(0, 1) is None)
        return found

    def _reader(self, identity: Identity, name: str) -> tuple[Reader | None, bool]:
        """How to read a file of a checkpoint, and whether that asks the Hub."""
        if not name.endswith(".safetensors"):
            return None, False
        source = self.source
        if isinstance(source, FolderSource):
            return file_reader(source.root / identity.revision_asked / name), False
        if not isinstance(source, HubSource):
            return None, False
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
