import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from massact.errors import TrainError
from massact.train import TrainingText, train
from tests.models import tiny
from tests.test_recipe import RECIPE

WORKS = ["It was the best of times, it was the worst of times. " * 40, "Call me Ishmael. Some years ago. " * 40]
SMALL = replace(RECIPE, steps=12, warmup=3, learning_rate=1e-2, checkpoints=6, window=8)
ARCHITECTURE = tiny(context=8)


class KilledError(Exception):
    pass


def run(folder, recipe=SMALL, watch=None, seed=0):
    return train(
        ARCHITECTURE,
        recipe,
        folder,
        name="tiny",
        seed=seed,
        text=TrainingText.of(WORKS[:1], WORKS[1:], recipe.vocab_size),
        watch=watch,
        progress=False,
    )


def weights(folder):
    return {p.parent.name: load_file(p) for p in sorted(folder.glob("checkpoints/step*/model.safetensors"))}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[step][name], b[step][name]) for step in a for name in a[step])


def test_a_killed_run_continues_to_the_same_bits(tmp_path):
    torch.set_num_threads(1)
    run(tmp_path / "whole")

    def kill(step, model):
        if step == 8:
            raise KilledError

    with pytest.raises(KilledError):
        run(tmp_path / "cut", watch=kill)
    summary = run(tmp_path / "cut")
    assert 0 < summary.steps_done < 12
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    logs = [json.loads((tmp_path / n / "checkpoints/training.json").read_text()) for n in ("whole", "cut")]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]["log"]] == [0, 1, 2, 4, 8, 12]


def test_checkpoints_load_with_from_pretrained_and_learn(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run(tmp_path)
    folder = tmp_path / "checkpoints" / "step12"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.num_hidden_layers == ARCHITECTURE.n_layers
    assert AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|endoftext|>") == 0
    log = json.loads((tmp_path / "checkpoints/training.json").read_text())["log"]
    assert log[-1]["loss"] < log[0]["loss"]


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(TrainError, match="another recipe"):
        run(tmp_path, seed=1)


def test_a_loss_that_explodes_names_its_step(tmp_path):
    with pytest.raises(TrainError, match=r"at step \d+; lower recipe.learning_rate"):
        run(tmp_path, recipe=replace(SMALL, learning_rate=1e30, clip=1e30))
