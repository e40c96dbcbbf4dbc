"""The saved state of a training: written whole, sealed by a hash, and read only by the run that wrote it.

A folder belongs to one run, whose identity is in `run.json`. It contains the last state and the one before.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from massact.architecture import Architecture
from massact.disk import read_regular, replacing, storing, write_text
from massact.errors import TrainError
from massact.recipe import Recipe, checkpoint_steps
from massact.train.model import build_model

if TYPE_CHECKING:
    from transformers import GPTNeoXForCausalLM

_STATE, _EARLIER = "state.pt", "state.earlier.pt"
_MAGIC = b"massact-state-2\n"
_LARGEST_RUN_BYTES = 1 << 20
# Weights of a training that still learns are smaller. A larger weight in a saved state is damage.
_LARGEST_WEIGHT = 1e6

log = logging.getLogger("massact")


@dataclass
class TrainingState:
    """Model, optimiser, steps taken, losses per checkpoint, and the seconds of all calls."""

    model: GPTNeoXForCausalLM
    optimiser: torch.optim.AdamW
    step: int
    log: list[dict[str, int | float]]
    seconds: float = 0.0


def remove_torn(folder: Path) -> None:
    """Delete partial files of a killed call. A file that cannot be deleted is kept."""
    for path in folder.glob(f".{_STATE}.*.partial"):
        with suppress(OSError):
            path.unlink()


def forget_state(folder: Path) -> None:
    """Delete the states that a training would continue from. A file that cannot be deleted is kept."""
    for name in (_STATE, _EARLIER):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def claim_folder(folder: Path, identity: dict[str, Any]) -> None:
    """Write the identity of this run into the folder, or check that it is already there.

    A damaged `run.json` is set aside. If then no state proves that the folder belongs to this run, its checkpoints are
    set aside too.
    """
    path = folder / "run.json"
    try:
        stored = json.loads(read_regular(path, _LARGEST_RUN_BYTES))
        if not isinstance(stored, dict) or stored.keys() != identity.keys():
            raise ValueError
    except FileNotFoundError:
        pass
    except (ValueError, RecursionError, OSError):
        _set_aside(path, "is damaged")
        if not any(_is_of(folder / name, identity) for name in (_STATE, _EARLIER)):
            _set_aside(folder / "checkpoints", "may belong to another run")
    else:
        if stored != json.loads(json.dumps(identity)):
            raise TrainError(f"{folder} holds a run of another recipe, architecture or seed", f"remove {folder} first")
    write_text(path, as_json(identity))


def _set_aside(path: Path, why: str) -> None:
    """Rename a file or folder that cannot be used. Nothing is deleted."""
    if not path.exists():
        return
    number = 1
    while (aside := path.with_name(f"{path.stem}.aside{number}{path.suffix}")).exists():
        number += 1
    with storing(path.parent):
        path.rename(aside)
    log.warning("%s %s: it is renamed to %s", path, why, aside.name)


def resume(
    folder: Path, architecture: Architecture, recipe: Recipe, seed: int, device: str, identity: dict[str, Any]
) -> TrainingState:
    """The newest valid state, or the untrained model."""
    for name in (_STATE, _EARLIER):
        path = folder / name
        if not path.exists():
            continue
        state = _fresh(architecture, recipe, seed, device)
        try:
            _fill(state, _sealed(path, identity), recipe, device)
        except Exception as error:  # a file with a valid hash may still hold any content
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            _set_aside(path, f"is damaged ({reason}): the training continues from the last complete state before it")
            continue
        return state
    return _fresh(architecture, recipe, seed, device)


def _fresh(architecture: Architecture, recipe: Recipe, seed: int, device: str) -> TrainingState:
    model: Any = build_model(architecture, seed)
    model.to(device)
    return TrainingState(model, _optimiser(model, recipe), 0, [])


def _fill(state: TrainingState, content: bytes, recipe: Recipe, device: str) -> None:
    """Load a saved state into a fresh one. Raises any kind of exception if the saved state is invalid for this run."""
    saved = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    step, rows = saved["step"], saved["log"]
    if type(step) is not int or not 0 <= step <= recipe.steps:
        raise ValueError(f"its step {step} is impossible")
    due = [at for at in checkpoint_steps(recipe.steps, recipe.checkpoints) if at <= step]
    if [row["step"] for row in rows] not in (due, due[:-1] if due and due[-1] == step else due):
        raise ValueError("its log does not match its step")
    if not all(isinstance(row[name], int | float) and math.isfinite(row[name]) for row in rows for name in row):
        raise ValueError("its log holds no numbers")
    state.model.load_state_dict(saved["model"])
    for name, tensor in state.model.state_dict().items():
        if not bool((tensor.abs() <= _LARGEST_WEIGHT).all()):  # this form also refuses NaN
            raise ValueError(f"{name} holds impossible values")
    steps = [float(entry["step"]) for entry in saved["optimiser"]["state"].values()]
    if set(steps) != ({float(step)} if step else set()):
        raise ValueError(f"its optimiser is not at step {step}")
    state.optimiser.load_state_dict(saved["optimiser"])
    state.step, state.log, state.seconds = step, rows, float(saved["seconds"])


def _run_id(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _sealed(path: Path, identity: dict[str, Any]) -> bytes:
    """The content of a state file whose run and hash are valid. ValueError if they are not."""
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        raise ValueError("it has another format")
    run, digest, body = content.removeprefix(_MAGIC).split(b"\n", 2)
    if run != _run_id(identity).encode():
        raise ValueError("it belongs to another run")
    if digest != hashlib.sha256(run + body).hexdigest().encode():
        raise ValueError("its hash does not match")
    return body


def _is_of(path: Path, identity: dict[str, Any]) -> bool:
    with suppress(OSError, ValueError):
        return bool(_sealed(path, identity))
    return False


def save_state(folder: Path, state: TrainingState, identity: dict[str, Any]) -> None:
    """Write the state, and keep the previous one as `state.earlier.pt`."""
    saved = {
        "model": state.model.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "log": state.log,
        "seconds": state.seconds,
    }
    body = io.BytesIO()
    torch.save(saved, body)
    run, content = _run_id(identity).encode(), body.getvalue()
    with replacing(folder / _STATE, len(content)) as partial, partial.open("wb") as file:
        file.write(_MAGIC + run + b"\n" + hashlib.sha256(run + content).hexdigest().encode() + b"\n")
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            (folder / _STATE).replace(folder / _EARLIER)


def as_json(content: dict[str, Any]) -> str:
    """Readable JSON with a last newline."""
    return json.dumps(content, indent=1) + "\n"


def _optimiser(model: GPTNeoXForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    o = recipe.training
    groups = [{"params": matrices, "weight_decay": o.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.epsilon)
