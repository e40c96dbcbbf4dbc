import hashlib
import io
import json
import resource

import pytest
import torch
from safetensors.torch import load_file

from massact.errors import StorageError, TrainError
from massact.train import TrainingText, train
from tests.models import tiny
from tests.test_recipe import RECIPE, varied

WORKS = ["It was the best of times, it was the worst of times. " * 40, "Call me Ishmael. Some years ago. " * 40]
SMALL = varied(RECIPE, steps=12, warmup=3, learning_rate=1e-2, checkpoints=6, window=8)
ARCHITECTURE = tiny(context=8)


class KilledError(Exception):
    pass


def text_of(recipe):
    return TrainingText.of(WORKS[:1], WORKS[1:], recipe.vocabulary)


def run(folder, recipe=SMALL, watch=None, seed=0, text=None):
    return train(
        ARCHITECTURE,
        recipe,
        folder,
        name="tiny",
        seed=seed,
        text=text or text_of(recipe),
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


@pytest.mark.parametrize("limit", [100, 3_000, 30_000])
def test_a_disk_that_refuses_is_one_line_and_the_run_continues_to_the_same_bits(tmp_path, limit):
    torch.set_num_threads(1)
    run(tmp_path / "whole")
    text = text_of(SMALL)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageError, match=r"File too large.*\n*.*ulimit -f"):
            run(tmp_path / "cut", text=text)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "cut").rglob("*.pt"))
    run(tmp_path / "cut")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    torn = tmp_path / ".state.pt.1.partial"
    torn.write_bytes(b"half")
    run(tmp_path)
    assert not torn.exists()


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(TrainError, match="another recipe"):
        run(tmp_path, seed=1)


def test_a_loss_that_explodes_names_its_step(tmp_path):
    with pytest.raises(TrainError, match=r"at step \d+; lower recipe.learning_rate"):
        run(tmp_path, recipe=varied(SMALL, learning_rate=1e30, clip=1e30))


def cut_at(folder, step):
    def kill(now, model):
        if now == step:
            raise KilledError

    with pytest.raises(KilledError):
        run(folder, watch=kill)


def resealed(path, change):
    """A state whose own hash holds after a change of its content."""
    run_id, _, body = path.read_bytes().removeprefix(b"massact-state-2\n").split(b"\n", 2)
    saved = torch.load(io.BytesIO(body), weights_only=True)
    change(saved)
    body = io.BytesIO()
    torch.save(saved, body)
    digest = hashlib.sha256(run_id + body.getvalue()).hexdigest().encode()
    path.write_bytes(b"massact-state-2\n" + run_id + b"\n" + digest + b"\n" + body.getvalue())


def large_weight(saved):
    next(iter(saved["model"].values())).view(-1)[0] = 1e9


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\x80garbage" * 100),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "a flipped bit": lambda path: path.write_bytes(path.read_bytes()[:-3000] + b"\x01" + path.read_bytes()[-2999:]),
    "a pickle of torch alone": lambda path: torch.save({"step": 3}, path),
    "another step": lambda path: resealed(path, lambda saved: saved.update(step=5)),
    "a step beyond the end": lambda path: resealed(path, lambda saved: saved.update(step=10**6)),
    "a key that lacks": lambda path: resealed(path, lambda saved: saved.pop("optimiser")),
    "a weight of 1e9": lambda path: resealed(path, large_weight),
    "a list": lambda path: resealed(path, lambda saved: saved.update(model=[])),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_set_aside_and_the_training_goes_on_from_the_one_before(tmp_path, damage, caplog):
    torch.set_num_threads(1)
    cut_at(tmp_path, 9)
    damage(tmp_path / "state.pt")
    damaged = (tmp_path / "state.pt").read_bytes()
    summary = run(tmp_path)
    assert summary.steps_done == 8  # from step 4, not from 8
    assert (tmp_path / "state.aside1.pt").read_bytes() == damaged
    assert "state.pt is damaged" in caplog.text
    run(tmp_path / "whole")
    assert same(weights(tmp_path / "whole"), weights(tmp_path))
    logs = [json.loads((folder / "checkpoints/training.json").read_text()) for folder in (tmp_path, tmp_path / "whole")]
    assert logs[0] == logs[1]


def test_with_both_states_damaged_it_begins_again(tmp_path):
    torch.set_num_threads(1)
    cut_at(tmp_path, 9)
    for name in ("state.pt", "state.earlier.pt"):
        (tmp_path / name).write_bytes(b"")
    assert run(tmp_path).steps_done == 12
    assert sorted(p.name for p in tmp_path.glob("*.aside*")) == ["state.aside1.pt", "state.earlier.aside1.pt"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "tiny"}', "[" * 100_000, "\x00\xff"])
def test_a_damaged_run_file_is_set_aside(tmp_path, text):
    torch.set_num_threads(1)
    cut_at(tmp_path, 9)
    (tmp_path / "run.json").write_text(text)
    assert run(tmp_path).steps_done == 4  # the state says that it is of this run
    assert (tmp_path / "run.aside1.json").read_text() == text
    assert json.loads((tmp_path / "run.json").read_text())["name"] == "tiny"


def test_checkpoints_of_a_run_that_nothing_names_are_set_aside(tmp_path):
    run(tmp_path)
    (tmp_path / "run.json").write_text("")
    assert run(tmp_path, seed=1).steps_done == 12
    assert (tmp_path / "checkpoints.aside1/step12").is_dir()
    assert (tmp_path / "state.aside1.pt").is_file()
