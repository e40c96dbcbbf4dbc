"""The interface of every source of checkpoints, and the ways in which a checkpoint can fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from massact.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

LOCAL = "local"


class CheckpointStatus(StrEnum):
    """The outcome for one checkpoint; `remedy` says what to do about a failure."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    REVISION_MISSING = "revision_missing"
    WEIGHTS_MISSING = "weights_missing"
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"
    LOAD_FAILED = "load_failed"
    DISK_FULL = "disk_full"
    SUSPECT = "suspect"
    NOT_FINITE = "not_finite"
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def remedy(self) -> str:
        """The command or the change that solves it."""
        return _REMEDIES[self]


_REMEDIES = {
    CheckpointStatus.OK: "",
    CheckpointStatus.UNREACHABLE: "connect to the Hub, or set HF_HOME to a filled cache, and run it again",
    CheckpointStatus.REVISION_MISSING: "leave this step out: checkpoints=list checkpoints.steps=[...]",
    CheckpointStatus.WEIGHTS_MISSING: "leave this step out: checkpoints=list checkpoints.steps=[...]",
    CheckpointStatus.CORRUPT: "restore it from an intact copy, or leave this step out",
    CheckpointStatus.UNREADABLE: "give this user read permission, and run it again",
    CheckpointStatus.LOAD_FAILED: "check that its config.json belongs to the weights",
    CheckpointStatus.DISK_FULL: "free space, or set HF_HOME to a disk with enough space, and run it again",
    CheckpointStatus.SUSPECT: "to measure it anyway: checkpoints.suspects=true",
    CheckpointStatus.NOT_FINITE: "measure it in float32, or leave it out",
    CheckpointStatus.OUT_OF_MEMORY: "use protocol.dtype=bfloat16 or a shorter probe.length",
}


class SourceError(CheckpointError):
    """A checkpoint that is not available; `fatal` when no other checkpoint of its model is available either."""

    def __init__(self, status: CheckpointStatus, what: str, remedy: str = "", *, fatal: bool = False) -> None:
        super().__init__(what, remedy or status.remedy)
        self.status = status
        self.fatal = fatal


@dataclass(frozen=True)
class Identity:
    """What a source states about a checkpoint before its weights are read.

    Attributes
    ----------
    revision_asked, revision_loaded
        `step512` and the commit it names; `local` for a folder.
    weights_sha256
        Hash over the names and contents of the weight files; the file's own hash if there is only one.
    files
        Name of each weight file -> sha256 of its content.
    bytes
        Total size of the weight files.
    config_id
        Hash of the settings that the weights are run with: git's hash of config.json; for sharded weights the index is
        included. The same weights give other hidden states under other settings.
    code
        Hash of the checkpoint's own code if `trust_remote_code` lets it run. `config_id` includes it.
    """

    step: int
    revision_asked: str
    revision_loaded: str
    weights_sha256: str
    files: Mapping[str, str]
    bytes: int = 0
    config_id: str = ""
    code: str = ""


@dataclass(frozen=True)
class Resolved:
    """A checkpoint that can be loaded: its files in `folder`, or the `model` itself. Other fields are as in `Identity`.

    `weights_sha256` and `config_id` are computed from the files that are read, never copied from a server's statement.
    `trusted`: the checkpoint's own code may run.
    """

    step: int
    revision_asked: str
    revision_loaded: str
    folder: Path
    weights_sha256: str
    files: tuple[str, ...] = ()
    model: nn.Module | None = None
    config_id: str = ""
    trusted: bool = False


@runtime_checkable
class CheckpointSource(Protocol):
    """The checkpoints of one model. Every method raises SourceError for a step that is not available."""

    def steps(self) -> list[int]:
        """The steps the source should have, ascending."""
        ...

    def identify(self, step: int) -> Identity:
        """Commit and hashes of a step, with as little traffic as possible."""
        ...

    def resolve(self, step: int) -> Resolved:
        """Fetch the files of a step to this disk and verify them."""
        ...

    def small_files(self, step: int) -> Path:
        """A folder with the configuration and the tokenizer of a step. It may lack the weights."""
        ...

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        ...

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer saved with a step."""
        ...


@runtime_checkable
class RemoteSource(CheckpointSource, Protocol):
    """A source whose checkpoints are downloaded. Each can be identified beforehand and deleted afterwards."""

    def identify_many(self, steps: Sequence[int]) -> dict[int, Identity | SourceError]:
        """Each step's identity as the server states it, or the error. No weights are fetched."""
        ...

    def final(self) -> Identity | None:
        """The finished model that the repository serves; None if it does not state one."""
        ...

    def cached(self, step: int) -> bool:
        """Whether a step's weights are already on this disk."""
        ...

    def folder(self) -> Path:
        """Where downloads go."""
        ...

    def release(self, identity: Identity, *, keep: bool = False) -> None:
        """Delete weights that were fetched for a measurement, complete or partial, including those of a dead process.
        Files in use by another process are kept. With `keep`, all files are kept permanently.
        """
        ...

    def awaited(self, seconds: float) -> bool:
        """Wait at most `seconds` for the server; return whether it answers."""
        ...
