"""Checkpoints on the Hugging Face Hub: one revision a step, verified against the hashes the Hub states."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from massact.checkpoints.files import (
    SMALL_FILES,
    choose_weights,
    combined_sha256,
    config_id,
    file_sha256,
    folder_weights,
)
from massact.checkpoints.hub_cache import FetchMarks, blob_of, cache_root, cached_folder, evict
from massact.checkpoints.hub_fetch import corrupt, fetch_verified
from massact.checkpoints.ledger import Ledger, Listed
from massact.checkpoints.reach import endpoint_named, hub_is_offline, reachable
from massact.checkpoints.repository import Repository
from massact.checkpoints.source import CheckpointStatus, Identity, Resolved, SourceError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger("massact")
FINAL_REVISION = "main"
Answer = TypeVar("Answer")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REQUESTS_AT_ONCE = 8


class HubSource:
    """Revisions of one repository, by default `step{N}`.

    Parameters
    ----------
    repo_id
        e.g. EleutherAI/pythia-70m.
    steps
        The steps whose revisions it should have.
    revisions
        Step -> revision, for repositories that name them in another way.
    offline
        Use the local cache alone; None reads HF_HUB_OFFLINE.
    endpoint
        The server; None reads HF_ENDPOINT, else the public Hub.
    cache
        The cache folder; None is huggingface_hub's own (HF_HOME).
    ledger
        A file that remembers what commits hold, so that each is asked for once; None remembers nothing.

    A server that does not answer does not matter where the cache holds what is asked for.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        steps: Sequence[int],
        revisions: Mapping[int, str] | None = None,
        offline: bool | None = None,
        endpoint: str | None = None,
        cache: Path | None = None,
        ledger: Path | None = None,
    ) -> None:
        self.repo_id = repo_id
        self.endpoint = endpoint_named(endpoint)
        self.offline = hub_is_offline() if offline is None else offline
        self.cache = cache
        self._repository = Repository(repo_id, self.endpoint, cache)
        self._steps = sorted(steps)
        self._names = dict(revisions or {})
        self._ledger = Ledger(ledger)
        self._commits: dict[str, str] = {}
        self._fetched = FetchMarks(self._repository.folder / "massact")

    def steps(self) -> list[int]:
        """Steps it should have, ascending."""
        return list(self._steps)

    def revision(self, step: int) -> str:
        """Name of a step's revision."""
        return self._names.get(step, f"step{step}")

    def identify(self, step: int) -> Identity:
        """Commit and hashes of a step's weights as the Hub states them, or last stated them; else from the cache.

        Weight files without a stated hash (not stored by LFS) are downloaded and hashed.
        """
        revision = self.revision(step)
        identity = self._remembered_identity(step, revision) if self.offline else None
        if not self.offline:
            try:
                identity = self._stated_identity(step, revision)
            except SourceError as error:
                if error.status is CheckpointStatus.UNREACHABLE:
                    identity = self._remembered_identity(step, revision)
                if identity is None:
                    self._raise_unless_cached(error, revision)
        if identity is not None:
            return identity
        resolved = self.resolve(step)
        hashes = {name: file_sha256(resolved.folder / name) for name in resolved.files}
        size = sum((resolved.folder / name).stat().st_size for name in hashes)
        return Identity(
            step,
            resolved.revision_asked,
            resolved.revision_loaded,
            resolved.weights_sha256,
            hashes,
            size,
            config_id(resolved.folder),
        )

    def identify_many(self, steps: Sequence[int]) -> dict[int, Identity | SourceError]:
        """Identities of steps, or why there are none, several at once; commits known to the ledger cost nothing."""

        def identity(step: int) -> Identity | SourceError:
            try:
                return self.identify(step)
            except SourceError as error:
                return error

        self._commits = {} if self.offline else self._branches()
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            found = dict(zip(steps, self._progress(pool.map(identity, steps), len(steps)), strict=True))
        self._ledger.save()
        return found

    def _progress(self, answers: Iterable[Answer], total: int) -> Iterable[Answer]:
        from tqdm import tqdm

        return tqdm(answers, f"asking for {self.repo_id}", total, unit="checkpoint", delay=2.0, leave=False)

    def final(self) -> Identity | None:
        """What the repository's main branch holds, where the Hub states it or last stated it."""
        try:
            if self.offline:
                return self._remembered_identity(-1, FINAL_REVISION)
            identity = self._stated_identity(-1, FINAL_REVISION)
            self._ledger.save()
            return identity
        except SourceError:
            return None

    def listed(self, commit: str) -> Mapping[str, Listed]:
        """Files of a commit by name, as the Hub stated them when it was identified; nobody is asked."""
        return self._ledger.get(commit) or {}

    def resolve(self, step: int) -> Resolved:
        """Bring one revision into the cache and verify its weights.

        Raises
        ------
        SourceError
            Every status of a checkpoint that cannot be had, as the Hub or the cache tells it. `fatal` when the
            repository itself does not exist, or the disk is full.
        """
        revision = self.revision(step)
        if not self.offline:
            try:
                return self._downloaded(step, revision)
            except SourceError as error:
                self._raise_unless_cached(error, revision)
        return self._from_cache(step, revision)

    def cached(self, step: int) -> bool:
        """Whether the cache has a whole set of weights for a step."""
        folder = cached_folder(self.repo_id, self.revision(step), self.cache)
        return folder is not None and bool(choose_weights(path.name for path in folder.iterdir() if path.is_file()))

    def folder(self) -> Path:
        """The cache."""
        return cache_root(self.cache)

    def release(self, identity: Identity, *, keep: bool = False) -> None:
        """Delete a checkpoint's weights from the cache if they were fetched to be measured, unless another process is
        at them; small files stay. `keep` leaves the weights there for good.
        """

        repository, commit = self._repository.folder, identity.revision_loaded
        self._fetched.give_up(commit, lambda: keep or evict(repository, commit, identity.files))

    def awaited(self, seconds: float) -> bool:
        """Whether the server answers, now or within so many seconds."""
        until = time.monotonic() + (0 if self.offline else seconds)
        while not self.offline and not reachable(self.endpoint):
            if time.monotonic() >= until:
                return False
            time.sleep(1.0)
        return not self.offline

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        from massact.checkpoints.bridge import load_bridge

        return load_bridge(resolved.folder, dtype, device)

    def small_files(self, step: int) -> Path:
        """Configuration and tokenizer of a step in the cache; its weights are not fetched."""
        revision = self.revision(step)
        folder = cached_folder(self.repo_id, revision, self.cache)
        if not self.offline and (folder is None or not (folder / "tokenizer.json").is_file()):
            self._info(revision)  # a server that is gone is told within seconds
            folder = self._repository.fetch(revision, SMALL_FILES)
        if folder is None:
            raise self._not_cached(revision)
        return folder

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer saved with a step; its weights are not fetched."""
        from massact.checkpoints.bridge import load_tokenizer

        return load_tokenizer(self.small_files(step))

    def _stated_identity(self, step: int, revision: str) -> Identity | None:
        """Identity from what the Hub states alone; None where it states no hash of some file."""
        commit = self._commits.get(revision, "")
        files = self._ledger.get(commit)
        if files is None:
            commit, files = self._info(revision)
        self._ledger.note(revision, commit)
        return self._identity(step, revision, commit, files)

    def _remembered_identity(self, step: int, revision: str) -> Identity | None:
        """Identity by the commit that a revision is in the cache, or last was, and what the ledger says of it."""
        folder = cached_folder(self.repo_id, revision, self.cache)
        commit = folder.name if folder is not None else self._ledger.commit(revision)
        files = self._ledger.get(commit) if commit else None
        return self._identity(step, revision, commit, files) if commit and files is not None else None

    def _identity(self, step: int, revision: str, commit: str, files: Mapping[str, Listed]) -> Identity | None:
        weights = self._weights(files, revision)
        hashes = {name: file.sha256 for name, file in weights.items() if file.sha256}
        if len(hashes) < len(weights):
            return None
        size = sum(file.bytes for file in weights.values())
        settings = files["config.json"].blob
        return Identity(step, revision, commit, combined_sha256(hashes), hashes, size, settings) if settings else None

    def _downloaded(self, step: int, revision: str) -> Resolved:
        commit, files = self._info(revision)
        weights = self._weights(files, revision)
        with self._fetched.fetching(commit, lambda: self.cached(step)):
            folder, found = fetch_verified(self._repository, revision, commit, weights)
        return Resolved(step, revision, folder.name, folder, combined_sha256(found), tuple(weights))

    def _from_cache(self, step: int, revision: str) -> Resolved:
        folder = cached_folder(self.repo_id, revision, self.cache)
        if folder is None:
            raise self._not_cached(revision)
        weights = folder_weights(folder)
        hashes = {name: file_sha256(folder / name) for name in weights}
        for name, sha in hashes.items():
            stored_as = blob_of(folder / name).name  # the cache names an LFS file after its hash
            if _SHA256.fullmatch(stored_as) and stored_as != sha:
                raise corrupt(self.repo_id, folder / name, revision, "than its name in the cache says")
        return Resolved(step, revision, folder.name, folder, combined_sha256(hashes), weights)

    def _raise_unless_cached(self, error: SourceError, revision: str) -> None:
        """Pass over an error that does not matter, since the cache has what was asked for."""
        folder = None
        if error.status is CheckpointStatus.UNREACHABLE:
            folder = cached_folder(self.repo_id, revision, self.cache)
        if folder is None or not choose_weights(path.name for path in folder.iterdir() if path.is_file()):
            raise error
        log.warning("%s %s is read from the cache: %s", self.repo_id, revision, error.what)

    def _branches(self) -> dict[str, str]:
        """Commit of every branch, in one request; nothing where the Hub does not say."""
        from massact.checkpoints.refs import branch_commits

        try:
            self._repository.check_reachable()
            return branch_commits(self.repo_id, self.endpoint)
        except SourceError:
            return {}  # each revision is asked for by itself, and tells what is wrong

    def _info(self, revision: str) -> tuple[str, dict[str, Listed]]:
        """Commit and files of a revision, as the Hub states them now."""
        commit, files = self._repository.info(revision)
        if commit:
            self._ledger.put(commit, files)
        return commit, files

    def _weights(self, files: Mapping[str, Listed], revision: str) -> dict[str, Listed]:
        """Weight files of a revision."""
        weights = choose_weights(files)
        if not weights or "config.json" not in files:
            raise SourceError(
                CheckpointStatus.WEIGHTS_MISSING,
                f"{self.repo_id} {revision} has no config.json or no whole set of weights",
            )
        return {name: files[name] for name in weights}

    def _not_cached(self, revision: str) -> SourceError:
        return SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{self.repo_id} {revision} is not in the local cache, and HF_HUB_OFFLINE forbids fetching it",
            "unset HF_HUB_OFFLINE, or set HF_HOME to a filled cache",
        )
