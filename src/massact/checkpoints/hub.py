"""Checkpoints on the Hugging Face Hub: one revision per step, verified against the hashes that the Hub states."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from massact.checkpoints.files import (
    CONFIG,
    SMALL_FILES,
    choose_weights,
    combined_sha256,
    companions,
    config_id,
    file_sha256,
    folder_weights,
    index_of,
    settings_id,
    unreadable,
)
from massact.checkpoints.foreign import code_sha256, folder_code, is_code
from massact.checkpoints.hub_cache import FetchMarks, cache_root, cached_folder, evict, intact
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
_REQUESTS_AT_ONCE = 8


class HubSource:
    """Revisions of one repository, by default `step{N}`.

    Parameters
    ----------
    repo_id
        e.g. EleutherAI/pythia-70m.
    steps
        The steps that should have a revision.
    revisions
        Step -> revision, for repositories with other names.
    offline
        Use only the local cache; None reads HF_HUB_OFFLINE.
    endpoint
        The server; None reads HF_ENDPOINT or uses the public Hub.
    cache
        The cache folder; None: huggingface_hub's own (HF_HOME).
    ledger
        A file with the listings of commits, so that each is requested once; None: no such file.
    trust_remote_code
        Whether code that comes with a checkpoint may run if its config.json asks for it.
    tokens
        Step -> training tokens seen, where the revisions' names state them.
    axis
        What `step` counts (`naming.AXES`).

    A server that does not answer is not an error if the cache holds the requested files.
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
        trust_remote_code: bool = False,
        tokens: Mapping[int, int] | None = None,
        axis: str = "step",
    ) -> None:
        self.repo_id = repo_id
        self.tokens = dict(tokens or {})
        self.axis = axis
        self.endpoint = endpoint_named(endpoint)
        self.offline = hub_is_offline() if offline is None else offline
        self.cache = cache
        self.trust_remote_code = trust_remote_code
        self._repository = Repository(repo_id, self.endpoint, cache)
        self._steps = sorted(steps)
        self._names = dict(revisions or {})
        self._ledger = Ledger(ledger)
        self._commits: dict[str, str] = {}
        self._fetched = FetchMarks(self._repository.folder / "massact")

    def steps(self) -> list[int]:
        """The steps the repository should have, ascending."""
        return list(self._steps)

    def part(self, step: int) -> HubSource:
        """The source of the repository that holds a step."""
        return self

    def revision(self, step: int) -> str:
        """Name of a step's revision."""
        return self._names.get(step, f"step{step}")

    def identify(self, step: int) -> Identity:
        """Commit and hashes of a step's weights, as the Hub states or last stated them; otherwise from the cache.

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
            resolved.config_id,
            folder_code(resolved.folder) if resolved.trusted else "",
        )

    def identify_many(self, steps: Sequence[int]) -> dict[int, Identity | SourceError]:
        """Identities of steps, or errors, with several requests at once. Commits in the ledger need no request."""

        def identity(step: int) -> Identity | SourceError:
            try:
                return self.identify(step)
            except SourceError as error:
                return error
            except Exception as error:  # one broken revision must not stop the others
                text = f"{self.repo_id} {self.revision(step)} cannot be read ({type(error).__name__}: {error})"
                return SourceError(CheckpointStatus.LOAD_FAILED, " ".join(text.split()))

        try:
            self._commits = {} if self.offline else self._branches()
        except SourceError as error:  # no such repository, so no such revision
            return dict.fromkeys(steps, error)
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            identities = dict(zip(steps, self._progress(pool.map(identity, steps), len(steps)), strict=True))
        self._ledger.save()
        return identities

    def _progress(self, answers: Iterable[Answer], total: int) -> Iterable[Answer]:
        from tqdm import tqdm

        return tqdm(answers, f"requesting {self.repo_id}", total, unit="checkpoint", delay=2.0, leave=False)

    def final(self) -> Identity | None:
        """The main branch of the repository, as the Hub states or last stated it."""
        try:
            if self.offline:
                return self._remembered_identity(-1, FINAL_REVISION)
            identity = self._stated_identity(-1, FINAL_REVISION)
            self._ledger.save()
            return identity
        except SourceError:
            return None

    def listed(self, commit: str) -> Mapping[str, Listed]:
        """Files of a commit by name, as the Hub stated them at identification; no request is sent."""
        return self._ledger.get(commit) or {}

    def resolve(self, step: int) -> Resolved:
        """Fetch one revision into the cache and verify its weights.

        Raises
        ------
        SourceError
            Any status of an unavailable checkpoint, depending on the Hub and the cache. `fatal` when the repository
            itself does not exist, or the disk is full.
        """
        revision = self.revision(step)
        if not self.offline:
            try:
                return self._downloaded(step, revision)
            except SourceError as error:
                self._raise_unless_cached(error, revision)
        return self._from_cache(step, revision)

    def cached(self, step: int) -> bool:
        """Whether the cache has a complete set of weights for a step."""
        folder = cached_folder(self.repo_id, self.revision(step), self.cache)
        return folder is not None and _holds_weights(folder)

    def folder(self) -> Path:
        """The cache."""
        return cache_root(self.cache)

    def release(self, identity: Identity, *, keep: bool = False) -> None:
        """Delete a checkpoint's weights from the cache if they were fetched for a measurement. Small files are
        kept, and so are files in use by another process. With `keep`, the weights stay permanently.
        """

        repository, commit = self._repository.folder, identity.revision_loaded
        self._fetched.give_up(commit, lambda: keep or evict(repository, commit, identity.files))

    def awaited(self, seconds: float) -> bool:
        """Wait at most `seconds` for the server; return whether it answers."""
        until = time.monotonic() + (0 if self.offline else seconds)
        while not self.offline and not reachable(self.endpoint):
            if time.monotonic() >= until:
                return False
            time.sleep(1.0)
        return not self.offline

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        from massact.checkpoints.bridge import load_bridge

        return load_bridge(resolved.folder, dtype, device, trusted=resolved.trusted)

    def small_files(self, step: int) -> Path:
        """Configuration and tokenizer of a step in the cache, checked against their hashes, without its weights."""
        revision = self.revision(step)
        folder = cached_folder(self.repo_id, revision, self.cache)
        wrong = self._wrong(folder, SMALL_FILES) if folder is not None else None
        if not self.offline and (folder is None or wrong or not (folder / "tokenizer.json").is_file()):
            commit, files = self._info(revision)  # fails within seconds if the server is down
            selection = {name: files[name] for name in SMALL_FILES if name in files}
            if CONFIG not in selection:
                raise SourceError(CheckpointStatus.WEIGHTS_MISSING, f"{self.repo_id} {revision} has no {CONFIG}")
            return fetch_verified(self._repository, revision, commit, selection)
        if folder is None:
            raise self._not_cached(revision)
        if wrong:
            raise self._corrupt_in_cache(folder, wrong, revision)
        return folder

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer saved with a step. The weights are not fetched."""
        from massact.checkpoints.bridge import load_tokenizer

        return load_tokenizer(self.small_files(step))

    def _stated_identity(self, step: int, revision: str) -> Identity | None:
        """Identity from the Hub's statements; None if it states no hash for some file."""
        commit = self._commits.get(revision, "")
        files = self._ledger.get(commit)
        if files is None:
            commit, files = self._info(revision)
        self._ledger.note(revision, commit)
        return self._identity(step, revision, commit, files)

    def _remembered_identity(self, step: int, revision: str) -> Identity | None:
        """Identity from the ledger, by the revision's commit in the cache or its last known commit."""
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
        index, code = index_of(weights), ""
        blobs = [files[name].blob for name in (CONFIG, *([index] if index else ()))]
        if not all(blobs) or (index and files[index].sha256):
            return None
        if self.trust_remote_code:
            code = code_sha256({name: file.blob for name, file in files.items() if is_code(name)})
        return Identity(
            step, revision, commit, combined_sha256(hashes), hashes, size, settings_id(*blobs, code=code), code
        )

    def _downloaded(self, step: int, revision: str) -> Resolved:
        commit, files = self._info(revision)
        weights = self._weights(files, revision)
        small = [name for name in files if name in companions(weights) or (self.trust_remote_code and is_code(name))]
        with self._fetched.fetching(commit, lambda: self.cached(step)):
            selection = {**weights, **{name: files[name] for name in small}}
            folder = fetch_verified(self._repository, revision, commit, selection)
        return self._resolved(step, revision, folder)

    def _from_cache(self, step: int, revision: str) -> Resolved:
        folder = cached_folder(self.repo_id, revision, self.cache)
        if folder is None:
            raise self._not_cached(revision)
        weights = folder_weights(folder)
        code = [path.name for path in folder.iterdir() if is_code(path.name)] if self.trust_remote_code else []
        wrong = self._wrong(folder, (*weights, *companions(weights), *code))
        if wrong:
            raise self._corrupt_in_cache(folder, wrong, revision)
        return self._resolved(step, revision, folder)

    def _resolved(self, step: int, revision: str, folder: Path) -> Resolved:
        """The checkpoint in a snapshot, with the hashes of its files."""
        weights = folder_weights(folder)
        try:
            hashes = {name: file_sha256(folder / name) for name in weights}
        except OSError as error:
            raise unreadable(folder, error) from None
        settings = config_id(folder, weights, folder_code(folder) if self.trust_remote_code else "")
        return Resolved(
            step,
            revision,
            folder.name,
            folder,
            combined_sha256(hashes),
            weights,
            config_id=settings,
            trusted=self.trust_remote_code,
        )

    def _wrong(self, folder: Path, names: Iterable[str]) -> str | None:
        """The first file of a snapshot whose content differs from the Hub's statement."""
        listed = self._ledger.get(folder.name) or {}
        try:
            return next(
                (n for n in names if (folder / n).is_file() and intact(folder / n, listed.get(n)) is False), None
            )
        except OSError as error:
            raise unreadable(folder, error) from None

    def _corrupt_in_cache(self, folder: Path, name: str, revision: str) -> SourceError:
        ours = bool(self._fetched.of(folder.name))
        return corrupt(self.repo_id, folder / name, revision, "than the Hub states", ours=ours)

    def _raise_unless_cached(self, error: SourceError, revision: str) -> None:
        """Ignore an unreachable server if the cache has the weights."""
        folder = None
        if error.status is CheckpointStatus.UNREACHABLE:
            folder = cached_folder(self.repo_id, revision, self.cache)
        if folder is None or not _holds_weights(folder):
            raise error
        log.warning("%s %s is read from the cache: %s", self.repo_id, revision, error.what)

    def _branches(self) -> dict[str, str]:
        """Commit of every branch and tag, in one request; empty if the Hub does not answer."""
        from massact.checkpoints.refs import ref_commits

        try:
            self._repository.check_reachable()
            return ref_commits(self.repo_id, self.endpoint)
        except SourceError as error:
            if error.fatal:
                raise
            return {}  # each revision is then requested singly and reports its error

    def _info(self, revision: str) -> tuple[str, dict[str, Listed]]:
        """Commit and files of a revision, as the Hub states them now."""
        commit, files = self._repository.info(revision)
        if commit:
            self._ledger.put(commit, files)
        return commit, files

    def _weights(self, files: Mapping[str, Listed], revision: str) -> dict[str, Listed]:
        """Weight files of a revision."""
        weights = choose_weights(files, f"{self.repo_id} {revision}")
        if not weights or CONFIG not in files:
            raise SourceError(
                CheckpointStatus.WEIGHTS_MISSING,
                f"{self.repo_id} {revision} has no config.json or no complete set of weights",
            )
        return {name: files[name] for name in weights}

    def _not_cached(self, revision: str) -> SourceError:
        return SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{self.repo_id} {revision} is not in the local cache, and HF_HUB_OFFLINE forbids fetching it",
            "unset HF_HUB_OFFLINE, or set HF_HOME to a filled cache",
        )


def _holds_weights(folder: Path) -> bool:
    """Whether a snapshot has a complete set of weights."""
    try:
        return bool(choose_weights(path.name for path in folder.iterdir() if path.is_file()))
    except SourceError:  # two sets
        return True
