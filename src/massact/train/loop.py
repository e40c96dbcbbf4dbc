"""The training loop: deterministic given the seed, resumable after a kill, one folder per checkpoint."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from massact.architecture import Architecture
from massact.errors import TrainError
from massact.recipe import Recipe, checkpoint_steps
from massact.train.data import encode_works, windows_at
from massact.train.model import build_model
from massact.train.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerBase

VALIDATION_WINDOWS = 16
STATE_EVERY = 200


@dataclass(frozen=True)
class TrainSummary:
    """What one call did: steps trained in it, and the losses (nats per token) at the last checkpoint."""

    steps_done: int
    loss: float
    validation_loss: float


@dataclass
class _State:
    model: GPTNeoXForCausalLM
    optimiser: torch.optim.AdamW
    step: int
    log: list[dict[str, int | float]]


def train(
    architecture: Architecture,
    recipe: Recipe,
    folder: Path,
    *,
    name: str,
    seed: int,
    works: list[str],
    validation_works: list[str],
    on_checkpoint: Callable[[int, Any], None] | None = None,
    progress: bool = True,
) -> TrainSummary:
    """Train one model into `folder`, continuing where a killed call stopped.

    Writes `folder/checkpoints/step{N}/` (config, fp16 safetensors, tokenizer: what `from_pretrained` reads),
    `folder/checkpoints/training.json` (recipe, architecture, seed, loss per checkpoint) and `folder/state.pt`.
    Numbers are the same to the last bit on one machine type and one thread count.

    Parameters
    ----------
    works, validation_works
        Texts to train on, and texts only scored.
    on_checkpoint
        Called as `on_checkpoint(step, model)` with the model in evaluation mode, before the update of that step.

    Raises
    ------
    TrainError
        When the loss stops being finite, or the folder holds another run.
    """
    tokenizer = _tokenizer(folder, works, recipe.vocab_size)
    stream, validation_stream = encode_works(tokenizer, works), encode_works(tokenizer, validation_works)
    validation = windows_at(
        validation_stream, seed=0, step=0, batch=VALIDATION_WINDOWS, window=recipe.window, first_token=0
    )
    identity = {"name": name, "seed": seed, "architecture": architecture.as_dict(), "recipe": asdict(recipe)}
    _claim(folder, identity)
    state = _resume(folder, architecture, recipe, seed)
    began = state.step
    wanted = set(checkpoint_steps(recipe.steps, recipe.checkpoints))
    loss = state.log[-1]["loss"] if state.log else float("nan")
    with tqdm(total=recipe.steps, initial=state.step, desc=name, unit="step", disable=not progress) as bar:
        while True:
            batch = windows_at(
                stream, seed=seed, step=state.step, batch=recipe.batch, window=recipe.window, first_token=0
            )
            if state.step in wanted and not any(row["step"] == state.step for row in state.log):
                _checkpoint(folder, state, tokenizer, batch, validation, recipe)
                if on_checkpoint is not None:
                    state.model.eval()
                    on_checkpoint(state.step, state.model)
                _save_state(folder, state)
            elif state.step % STATE_EVERY == 0 and state.step > began:
                _save_state(folder, state)
            if state.step >= recipe.steps:
                break
            loss = _update(state, batch, recipe)
            rate = bar.format_dict["rate"] or 0.0
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}, {rate * recipe.tokens_per_step:,.0f} tokens/s", refresh=False)
    _write_json(folder / "checkpoints" / "training.json", {**identity, "log": state.log})
    return TrainSummary(state.step - began, state.log[-1]["loss"], state.log[-1]["validation_loss"])


def _update(state: _State, batch: Int[Tensor, "batch window"], recipe: Recipe) -> float:
    state.model.train()
    for group in state.optimiser.param_groups:
        group["lr"] = recipe.learning_rate_at(state.step)
    loss = _loss(state.model, batch)
    if not bool(torch.isfinite(loss)):
        raise TrainError(
            f"the loss is {loss.item()} at step {state.step}", "lower recipe.learning_rate or raise recipe.warmup"
        )
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip)
    state.optimiser.step()
    state.step += 1
    return float(loss.item())


def _loss(model: GPTNeoXForCausalLM, batch: Int[Tensor, "batch window"]) -> Tensor:
    logits = model(batch[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def _optimiser(model: GPTNeoXForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.beta1, recipe.beta2), eps=recipe.epsilon)


def _tokenizer(folder: Path, works: list[str], vocab_size: int) -> PreTrainedTokenizerBase:
    from transformers import PreTrainedTokenizerFast

    saved = folder / "tokenizer"
    if not (saved / "tokenizer.json").is_file():
        train_tokenizer(works, vocab_size).save_pretrained(saved)
    return PreTrainedTokenizerFast.from_pretrained(saved)


def _checkpoint(
    folder: Path,
    state: _State,
    tokenizer: PreTrainedTokenizerBase,
    batch: Int[Tensor, "batch window"],
    validation: Int[Tensor, "sequence window"],
    recipe: Recipe,
) -> None:
    """Save the weights under a temporary name, then rename: a folder `step{N}` is whole or absent."""
    from transformers import GPTNeoXForCausalLM

    state.model.eval()
    with torch.no_grad():
        losses = {
            "loss": _loss(state.model, batch).item(),
            "validation_loss": _loss(state.model, validation).item(),
        }
    half = GPTNeoXForCausalLM(state.model.config)
    half.load_state_dict(state.model.state_dict())
    final, partial = folder / "checkpoints" / f"step{state.step}", folder / f"step{state.step}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    half.half().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    final.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    state.log.append({"step": state.step, "tokens": state.step * recipe.tokens_per_step, **losses})


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    path = folder / "run.json"
    if path.is_file() and json.loads(path.read_text()) != json.loads(json.dumps(identity)):
        raise TrainError(f"{folder} holds a run of another recipe, architecture or seed", f"remove {folder} first")
    _write_json(path, identity)


def _resume(folder: Path, architecture: Architecture, recipe: Recipe, seed: int) -> _State:
    model = build_model(architecture, seed)
    optimiser = _optimiser(model, recipe)
    path = folder / "state.pt"
    if not path.is_file():
        return _State(model, optimiser, 0, [])
    saved = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    optimiser.load_state_dict(saved["optimiser"])
    return _State(model, optimiser, saved["step"], saved["log"])


def _save_state(folder: Path, state: _State) -> None:
    partial = folder / "state.partial"
    torch.save(
        {
            "model": state.model.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "step": state.step,
            "log": state.log,
        },
        partial,
    )
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(folder / "state.pt")
    with suppress(OSError):
        (folder / "state.partial").unlink()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
