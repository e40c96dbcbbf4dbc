"""What every source of checkpoints offers, and how a checkpoint can fail."""

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
    """How a checkpoint ended; `remedy` says what to do."""

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
        """The command or change that mends it."""
        return _REMEDIES[self]


_REMEDIES = {
    CheckpointStatus.OK: "",
    CheckpointStatus.UNREACHABLE: "connect to the Hub, or set HF_HOME to a filled cache, and run it again",
    CheckpointStatus.REVISION_MISSING: "leave this step out: checkpoints=list checkpoints.steps=[...]",
    CheckpointStatus.WEIGHTS_MISSING: "leave this step out: checkpoints=list checkpoints.steps=[...]",
    CheckpointStatus.CORRUPT: "restore it from a copy that is whole, or leave this step out",
    CheckpointStatus.UNREADABLE: "let this user read it, and run it again",
    CheckpointStatus.LOAD_FAILED: "see whether its config.json is that of the weights",
    CheckpointStatus.DISK_FULL: "free space, or set HF_HOME to a disk with room, and run it again",
    CheckpointStatus.SUSPECT: "measure it all the same with checkpoints.suspects=true",
    CheckpointStatus.NOT_FINITE: "measure it in float32, or leave it out",
    CheckpointStatus.OUT_OF_MEMORY: "take protocol.dtype=bfloat16 or a shorter probe.length",
}


class SourceError(CheckpointError):
    """A checkpoint that cannot be had; `fatal` when the others of its model cannot be had either."""

    def __init__(self, status: CheckpointStatus, what: str, remedy: str = "", *, fatal: bool = False) -> None:
        super().__init__(what, remedy or status.remedy)
        self.status = status
        self.fatal = fatal


@dataclass(frozen=True)
class Identity:
    """What a source says a checkpoint is, without its weights having been read.

    Attributes
    ----------
    revision_asked, revision_loaded
        `step512` and the commit it names; `local` for a folder.
    weights_sha256
        Hash over the weight files, by name and content; the file's own where there is one file.
    files
        Name of each weight file -> sha256 of its content.
    bytes
        Size of the weight files together.
    config_id
        Hash of the settings that the weights are run with: git's of config.json, and with shards also the index. Same
        weights, other settings: other hidden states.
    code
        Hash of the checkpoint's own code, where `trust_remote_code` lets it run; it is part of `config_id` too.
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
    """A checkpoint at hand: its files in `folder`, or the `model` itself; the other fields are those of `Identity`.

    `weights_sha256` and `config_id` are computed from what is read, never copied from what a server states. `trusted`:
    the checkpoint's own code may be run.
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
    """Where the checkpoints of one model are. Every method raises SourceError for a step that cannot be had."""

    def steps(self) -> list[int]:
        """Steps it should have, ascending."""
        ...

    def identify(self, step: int) -> Identity:
        """Commit and hashes of a step, with as little traffic as it takes."""
        ...

    def resolve(self, step: int) -> Resolved:
        """Bring the files of a step onto this disk and check them."""
        ...

    def small_files(self, step: int) -> Path:
        """A folder with the configuration and tokenizer of a step; the weights need not be there."""
        ...

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        ...

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer saved with a step."""
        ...


@runtime_checkable
class RemoteSource(CheckpointSource, Protocol):
    """A source whose checkpoints must be fetched: they can be asked about beforehand, and given back afterwards."""

    def identify_many(self, steps: Sequence[int]) -> dict[int, Identity | SourceError]:
        """Identities, or why there are none, from what a server states; no weights are fetched."""
        ...

    def final(self) -> Identity | None:
        """What the repository offers as the finished model; None where it does not say."""
        ...

    def cached(self, step: int) -> bool:
        """Whether a step's weights are on this disk already."""
        ...

    def folder(self) -> Path:
        """Where downloads go."""
        ...

    def release(self, identity: Identity, *, keep: bool = False) -> None:
        """Delete weights that were fetched to be measured, whole or not, and also by a process that has died; those
        that another process is at stay. `keep`: they stay for good.
        """
        ...

    def awaited(self, seconds: float) -> bool:
        """Whether the server answers, now or within so many seconds."""
        ...
