"""Checkpoints in a local folder, each in Hugging Face format and named by its step; or a folder that is one checkpoint.

Trainings name them in different ways: `step1000` (massact, Pythia), `checkpoint-1000` (Hugging Face's Trainer),
`global_step1000` (DeepSpeed, BLOOM), `step-1000`, `step_001000`, `iter_0001000` (Megatron).
"""

from __future__ import annotations

import json
import logging
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from massact.checkpoints.files import CONFIG, combined_sha256, config_id, file_sha256, folder_weights, unreadable
from massact.checkpoints.foreign import folder_code
from massact.checkpoints.naming import Naming
from massact.checkpoints.source import LOCAL, CheckpointStatus, Identity, Resolved, SourceError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger("massact")
_PLAIN = re.compile(r"step(0|[1-9][0-9]{0,11})")
_NAMED = re.compile(r"(?:global)?[-_]?(?:step|checkpoint|ckpt|iter|iteration)[-_]?([0-9]{1,12})", re.IGNORECASE)
TRAINER_STATE = "trainer_state.json"
_CHECKPOINT_FILES = (CONFIG, "adapter_config.json", TRAINER_STATE, "*.safetensors", "*.bin")


def step_named(name: str) -> int | None:
    """The step in the name of a checkpoint's folder; None for any other name.

    >>> [step_named(name) for name in ("step8", "checkpoint-1000", "global_step1000", "iter_0000500", "final")]
    [8, 1000, 1000, 500, None]
    """
    match = _NAMED.fullmatch(name)
    return int(match[1]) if match else None


def trainer_state(folder: Path) -> dict[str, object]:
    """What the Trainer wrote beside a checkpoint (`global_step`, `num_input_tokens_seen`); empty where it did not."""
    try:
        state = json.loads((folder / TRAINER_STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


class FolderSource:
    """The checkpoints in `root`, one folder each, or `root` itself where it is a checkpoint and holds no others.

    A folder counts as a checkpoint if its name states a step (`step_named`) and, unless it is plainly `step{N}`, it
    holds files of a model. A single checkpoint has the step of the Trainer's state, else that of its name, else 0.

    The folder is listed once, at the first use: checkpoints that a training adds later need another source.

    Parameters
    ----------
    trust_remote_code
        Whether code that comes with a checkpoint may run if its config.json asks for it.
    naming
        How the folders are named; None: as `step_named`.
    variant
        Of the folders' names by `naming`; None: the one with the most checkpoints.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        trust_remote_code: bool = False,
        naming: Naming | None = None,
        variant: str | None = None,
    ) -> None:
        self.root = Path(root)
        self.trust_remote_code = trust_remote_code
        self.naming = naming
        self.variant = variant
        self.axis = "step" if naming is None else naming.axis

    def steps(self) -> list[int]:
        """Steps found, ascending.

        Raises
        ------
        SourceError
            When `root` is not a folder, or two of its folders are named by the same step.
        """
        return sorted(self._folders)

    def identify(self, step: int) -> Identity:
        """Hash the weights of one step."""
        resolved, hashes = self._hashed(step)
        try:
            size = sum((resolved.folder / name).stat().st_size for name in hashes)
        except OSError as error:
            raise unreadable(resolved.folder, error) from None
        return Identity(
            step,
            resolved.revision_asked,
            LOCAL,
            resolved.weights_sha256,
            hashes,
            size,
            resolved.config_id,
            folder_code(resolved.folder) if resolved.trusted else "",
        )

    def resolve(self, step: int) -> Resolved:
        """Find and hash the weights of one step.

        Raises
        ------
        SourceError
            `revision_missing`: no such folder; `weights_missing`: no config.json or no complete set of weights;
            `unreadable`, `corrupt`, `load_failed`: as in `files.folder_weights`.
        """
        return self._hashed(step)[0]

    def small_files(self, step: int) -> Path:
        """The folder of a step."""
        return self._folder(step)

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        from massact.checkpoints.bridge import load_bridge

        return load_bridge(resolved.folder, dtype, device, trusted=resolved.trusted)

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer saved with a step."""
        from massact.checkpoints.bridge import load_tokenizer

        return load_tokenizer(self._folder(step))

    def _folder(self, step: int) -> Path:
        plain = self.root / f"step{step}"
        folder = plain if self.naming is None and plain.is_dir() else self._folders.get(step, plain)
        if not folder.is_dir():
            raise SourceError(CheckpointStatus.REVISION_MISSING, f"{folder} does not exist")
        return folder

    @cached_property
    def _folders(self) -> dict[int, Path]:
        """Step -> folder."""
        if not self.root.is_dir():
            raise SourceError(CheckpointStatus.UNREACHABLE, f"{self.root} does not exist", "check the folder's name")
        folders: dict[int, Path] = {}
        if self.naming is not None:
            return self._folders_named(self.naming)
        try:
            for path in sorted(self.root.iterdir()):
                step = step_named(path.name)
                if step is None or not path.is_dir() or not (_PLAIN.fullmatch(path.name) or _holds_model(path)):
                    continue
                if step in folders:
                    raise SourceError(
                        CheckpointStatus.LOAD_FAILED,
                        f"{self.root} holds step {step} twice: {folders[step].name} and {path.name}",
                        "move one of them out of the folder",
                        fatal=True,
                    )
                folders[step] = path
            if not folders and (self.root / CONFIG).is_file():
                folders[_own_step(self.root)] = self.root
        except OSError as error:
            raise unreadable(self.root, error) from None
        return folders

    def _folders_named(self, naming: Naming) -> dict[int, Path]:
        """Step -> folder, by the suite's own names. Logs the folders that are left out."""
        from massact.checkpoints.branches import read_branches

        try:
            names = [path.name for path in self.root.iterdir() if path.is_dir()]
        except OSError as error:
            raise unreadable(self.root, error) from None
        read = read_branches(str(self.root), names, naming)
        for name, why in read.unread.items():
            log.warning("%s: %s %s", self.root, name, why)
        return (
            {step: self.root / branch.name for step, branch in read.of(self.variant).items()} if read.branches else {}
        )

    def _hashed(self, step: int) -> tuple[Resolved, dict[str, str]]:
        folder = self._folder(step)
        weights = folder_weights(folder)
        try:
            hashes = {name: file_sha256(folder / name) for name in weights}
        except OSError as error:
            raise unreadable(folder, error) from None
        trusted = self.trust_remote_code
        settings = config_id(folder, weights, folder_code(folder) if trusted else "")
        return (
            Resolved(
                step,
                folder.name or folder.resolve().name,
                LOCAL,
                folder,
                combined_sha256(hashes),
                weights,
                config_id=settings,
                trusted=trusted,
            ),
            hashes,
        )


def _holds_model(folder: Path) -> bool:
    return any(next(folder.glob(name), None) is not None for name in _CHECKPOINT_FILES)


def _own_step(folder: Path) -> int:
    """The step of a folder that is a checkpoint itself."""
    step = trainer_state(folder).get("global_step")
    if isinstance(step, int) and not isinstance(step, bool) and step >= 0:
        return step
    return step_named(folder.resolve().name) or 0
