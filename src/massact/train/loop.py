"""The training loop: deterministic for a given seed, resumable after a kill, one folder per checkpoint."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from massact.architecture import Architecture
from massact.disk import storing, write_text
from massact.errors import DivergedError
from massact.recipe import Recipe, checkpoint_steps
from massact.train.data import TrainingText, windows_at
from massact.train.state import TrainingState, as_json, claim_folder, remove_torn, resume, save_state

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerBase

VALIDATION_WINDOWS = 16
STATE_EVERY = 200

log = logging.getLogger("massact")


@dataclass(frozen=True)
class TrainSummary:
    """The result of one call: its number of steps, the final losses (nats per token), and the seconds of all calls."""

    steps_done: int
    loss: float
    validation_loss: float
    seconds: float


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
    claim_folder(folder, identity)
    remove_torn(folder)
    state = resume(folder, architecture, recipe, seed, device, identity)
    began, clock = state.step, time.perf_counter() - state.seconds
    due_steps = set(checkpoint_steps(recipe.steps, recipe.checkpoints))
    loss = state.log[-1]["loss"] if state.log else float("nan")
    with tqdm(total=recipe.steps, initial=state.step, desc=name, unit="step", disable=not progress) as bar:
        while True:
            batch = _windows(text.stream, recipe, seed=seed, step=state.step, batch=recipe.batch).to(device)
            if watch is not None:
                watch(state.step, state.model)
            due = state.step in due_steps and not any(row["step"] == state.step for row in state.log)
            if due:
                _log_losses(state, batch, validation, recipe)
                if keep_checkpoints:
                    _save_checkpoint(folder, state, text.tokenizer)
            if (due and keep_checkpoints) or (state.step % STATE_EVERY == 0 and state.step > began):
                state.seconds = time.perf_counter() - clock
                save_state(folder, state, identity)
            if state.step >= recipe.steps:
                break
            loss = _update(state, batch, recipe)
            rate = bar.format_dict["rate"] or 0.0
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}, {rate * recipe.tokens_per_step:,.0f} tokens/s", refresh=False)
    write_text(folder / "checkpoints" / "training.json", as_json({**identity, "log": state.log}))
    last = state.log[-1]
    return TrainSummary(state.step - began, last["loss"], last["validation_loss"], time.perf_counter() - clock)


def _windows(
    stream: Int[ndarray, " token"], recipe: Recipe, *, seed: int, step: int, batch: int
) -> Int[Tensor, "batch window"]:
    return windows_at(stream, seed=seed, step=step, batch=batch, window=recipe.window, first_token=recipe.first_token)


def _update(state: TrainingState, batch: Int[Tensor, "batch window"], recipe: Recipe) -> float:
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


def _log_losses(
    state: TrainingState, batch: Int[Tensor, "batch window"], validation: Int[Tensor, "sequence window"], recipe: Recipe
) -> None:
    state.model.eval()
    with torch.no_grad():
        losses = {"loss": _loss(state.model, batch).item(), "validation_loss": _loss(state.model, validation).item()}
    state.log.append({"step": state.step, "tokens": state.step * recipe.tokens_per_step, **losses})


def _save_checkpoint(folder: Path, state: TrainingState, tokenizer: PreTrainedTokenizerBase) -> None:
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
