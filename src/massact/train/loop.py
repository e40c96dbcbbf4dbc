"""The training loop: deterministic for a given seed, resumable after a kill, one folder per checkpoint."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from massact.architecture import Architecture
from massact.disk import read_regular, replacing, storing, write_text
from massact.errors import DivergedError, TrainError
from massact.recipe import Recipe, checkpoint_steps
from massact.train.data import TrainingText, windows_at
from massact.train.model import build_model

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerBase

VALIDATION_WINDOWS = 16
STATE_EVERY = 200
_STATE, _EARLIER = "state.pt", "state.earlier.pt"
_MAGIC = b"massact-state-2\n"
_LARGEST_RUN_BYTES = 1 << 20
# Weights of a training that still learns are smaller. A larger weight in a saved state is damage.
_LARGEST_WEIGHT = 1e6

log = logging.getLogger("massact")


@dataclass(frozen=True)
class TrainSummary:
    """The result of one call: its number of steps, the final losses (nats per token), and the seconds of all calls."""

    steps_done: int
    loss: float
    validation_loss: float
    seconds: float


@dataclass
class _State:
    model: GPTNeoXForCausalLM
    optimiser: torch.optim.AdamW
    step: int
    log: list[dict[str, int | float]]
    seconds: float = 0.0


def train(
    architecture: Architecture,
    recipe: Recipe,
    folder: Path,
    *,
    name: str,
    seed: int,
    text: TrainingText,
    watch: Callable[[int, Any], Any] | None = None,
    keep_checkpoints: bool = True,
    device: str = "cpu",
    progress: bool = True,
) -> TrainSummary:
    """Train one model into `folder`, and continue after a killed call.

    Writes `folder/checkpoints/step{N}/` (config, fp16 safetensors and tokenizer, for `from_pretrained`),
    `folder/checkpoints/training.json` (recipe, architecture, seed, loss per checkpoint), `folder/state.pt` and the
    previous state. A state names its run and step and carries its own hash. A damaged state is set aside, and the
    training continues from the previous state or from the start.
    The numbers are bit-identical for one machine type and one number of threads.

    Parameters
    ----------
    text
        `TrainingText.of(works, validation_works, recipe.vocab_size)`.
    watch
        Called as `watch(step, model)` before the update of every step and at the end, e.g. a `LiveMeasurement`. After a
        kill, calls start again at the last saved state.
    keep_checkpoints
        False writes no weights except the states to continue from.
    device
        The device for training, in float32. Initial weights are the same on all devices, other numbers on one type
        only.

    Raises
    ------
    DivergedError
        When the loss stops being finite.
    TrainError
        When the folder belongs to another run.
    StorageError
        When the disk cannot be written to. The same call continues from the last complete state.
    """
    validation = _windows(text.validation, recipe, seed=0, step=0, batch=VALIDATION_WINDOWS).to(device)
    identity = {"name": name, "seed": seed, "architecture": architecture.as_dict(), "recipe": recipe.as_dict()}
    _claim(folder, identity)
    _remove_torn(folder)
    state = _resume(folder, architecture, recipe, seed, device, identity)
    began, clock = state.step, time.perf_counter() - state.seconds
    wanted = set(checkpoint_steps(recipe.steps, recipe.checkpoints))
    loss = state.log[-1]["loss"] if state.log else float("nan")
    with tqdm(total=recipe.steps, initial=state.step, desc=name, unit="step", disable=not progress) as bar:
        while True:
            batch = _windows(text.stream, recipe, seed=seed, step=state.step, batch=recipe.batch).to(device)
            if watch is not None:
                watch(state.step, state.model)
            due = state.step in wanted and not any(row["step"] == state.step for row in state.log)
            if due:
                _log_losses(state, batch, validation, recipe)
                if keep_checkpoints:
                    _save_checkpoint(folder, state, text.tokenizer)
            if (due and keep_checkpoints) or (state.step % STATE_EVERY == 0 and state.step > began):
                state.seconds = time.perf_counter() - clock
                _save_state(folder, state, identity)
            if state.step >= recipe.steps:
                break
            loss = _update(state, batch, recipe)
            rate = bar.format_dict["rate"] or 0.0
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}, {rate * recipe.tokens_per_step:,.0f} tokens/s", refresh=False)
    write_text(folder / "checkpoints" / "training.json", _as_json({**identity, "log": state.log}))
    last = state.log[-1]
    return TrainSummary(state.step - began, last["loss"], last["validation_loss"], time.perf_counter() - clock)


def _windows(
    stream: Int[ndarray, " token"], recipe: Recipe, *, seed: int, step: int, batch: int
) -> Int[Tensor, "batch window"]:
    return windows_at(stream, seed=seed, step=step, batch=batch, window=recipe.window, first_token=recipe.first_token)


def _update(state: _State, batch: Int[Tensor, "batch window"], recipe: Recipe) -> float:
    state.model.train()
    for group in state.optimiser.param_groups:
        group["lr"] = recipe.learning_rate_at(state.step)
    loss = _loss(state.model, batch)
    if not bool(torch.isfinite(loss)):
        raise DivergedError(
            f"the loss is {loss.item()} at step {state.step}", "lower recipe.learning_rate or raise recipe.warmup"
        )
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.training.clip)
    state.optimiser.step()
    state.step += 1
    return float(loss.item())


def _loss(model: GPTNeoXForCausalLM, batch: Int[Tensor, "batch window"]) -> Tensor:
    logits = model(batch[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def _optimiser(model: GPTNeoXForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    o = recipe.training
    groups = [{"params": matrices, "weight_decay": o.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.epsilon)


def _log_losses(
    state: _State, batch: Int[Tensor, "batch window"], validation: Int[Tensor, "sequence window"], recipe: Recipe
) -> None:
    state.model.eval()
    with torch.no_grad():
        losses = {"loss": _loss(state.model, batch).item(), "validation_loss": _loss(state.model, validation).item()}
    state.log.append({"step": state.step, "tokens": state.step * recipe.tokens_per_step, **losses})


def _save_checkpoint(folder: Path, state: _State, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save the weights under a temporary name, then rename. A folder `step{N}` is complete or absent."""
    from transformers import GPTNeoXForCausalLM

    half = GPTNeoXForCausalLM(state.model.config)
    half.load_state_dict(state.model.state_dict())
    final, partial = folder / "checkpoints" / f"step{state.step}", folder / f"step{state.step}.partial"
    with storing(folder):
        shutil.rmtree(partial, ignore_errors=True)
        _save_weights(half.half(), partial)
        tokenizer.save_pretrained(partial)
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)


def _save_weights(model: GPTNeoXForCausalLM, folder: Path) -> None:
    """`save_pretrained`, with an OSError for a write error, in place of safetensors' own exception."""
    from safetensors import SafetensorError

    try:
        model.save_pretrained(folder)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from None


def _remove_torn(folder: Path) -> None:
    """Delete partial files of a killed call. A file that cannot be deleted is kept."""
    for path in folder.glob(f".{_STATE}.*.partial"):
        with suppress(OSError):
            path.unlink()


def forget_state(folder: Path) -> None:
    """Delete the states that a training would continue from. A file that cannot be deleted is kept."""
    for name in (_STATE, _EARLIER):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def _claim(folder: Path, identity: dict[str, Any]) -> None:
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
    write_text(path, _as_json(identity))


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


def _resume(
    folder: Path, architecture: Architecture, recipe: Recipe, seed: int, device: str, identity: dict[str, Any]
) -> _State:
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


def _fresh(architecture: Architecture, recipe: Recipe, seed: int, device: str) -> _State:
    model: Any = build_model(architecture, seed)
    model.to(device)
    return _State(model, _optimiser(model, recipe), 0, [])


def _fill(state: _State, content: bytes, recipe: Recipe, device: str) -> None:
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


def _save_state(folder: Path, state: _State, identity: dict[str, Any]) -> None:
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


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
