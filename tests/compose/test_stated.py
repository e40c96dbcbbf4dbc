"""Tables describe a folder's model as its config.json files do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from massact.errors import CheckpointError, ConfigError
from massact.extract.outcome import Failure, SweepResult
from massact.preflight import preflight
from massact.stages.extract import Extraction, failure
from massact.stages.extract import extract as extract_all
from massact.trajectories import aggregate

ROOT = Path(__file__).parents[2]
POCKET = ROOT / "data/pocket/pocket-d-seed0"


def extract(config) -> Extraction:
    """The extraction of the only statistic."""
    ((extraction,), _) = extract_all(config)
    return extraction


def config(tmp_path, *overrides, model="pocket-a", steps="[0,1,2]"):
    wanted = [
        f"paths.records={tmp_path}/records", "stage=extract", f"model={model}", "probe.sequences=2",
        "checkpoints=list", f"checkpoints.steps={steps}",
    ]  # fmt: skip
    return preflight([*wanted, *overrides], ROOT / "conf", multirun=False)[0]


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    """Three checkpoints of a small Llama, with the pocket family's tokenizer."""
    root = tmp_path_factory.mktemp("llama")
    for step in (0, 1, 2):
        torch.manual_seed(step)
        settings = LlamaConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=1000,
            max_position_embeddings=128, rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
        )  # fmt: skip
        LlamaForCausalLM(settings).save_pretrained(root / f"step{step}")
        shutil.copy(POCKET / "step0/tokenizer.json", root / f"step{step}")
    return root


def test_a_folder_with_its_own_name_is_described_by_its_config_json(tmp_path, llama):
    extraction = extract(config(tmp_path, f"model.folder={llama}", "model.name=mine", "model.family=own"))
    assert extraction.metadata["architecture"] == {
        "n_layers": 2, "d_model": 32, "n_heads": 4, "d_mlp": 64, "vocab_size": 1000, "context": 128,
        "rotary_fraction": 1.0, "rotary_base": 50000.0, "parallel_residual": False,
    }  # fmt: skip
    assert extraction.metadata["tokens_per_step"] is None
    assert set(extraction.records["recipe"]) == {""}
    assert extraction.records["tokens"].isna().all()
    assert len(aggregate(extraction.records)) == 3 * 2 * 3


def test_a_folder_is_listed_once(tmp_path, llama, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    for step in (0, 1, 2):  # each name has to be looked up in the listing
        (run / f"checkpoint-{step}").symlink_to(llama / f"step{step}")
    listings, iterdir = [], Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: listings.append(path) or iterdir(path))
    folder = preflight(
        [
            "stage=measure", "model=folder", f"model.folder={run}", "probe.sequences=2", "probe.length=16",
            f"paths.records={tmp_path}/records",
        ],
        ROOT / "conf",
        multirun=False,
    )  # fmt: skip
    assert sorted(set(extract(folder[0]).records["step"])) == [0, 1, 2]
    assert listings.count(run) == 1


def test_a_recipe_that_was_given_for_it_is_kept(tmp_path, llama):
    overrides = ["model.recipe.name=ours", "model.recipe.batch=3", "model.recipe.window=5", "model.probe.length=32"]
    overrides += [
        "model.architecture.context=128",
        "model.architecture.vocab_size=1000",
        "model.architecture.n_layers=2",
    ]
    overrides += [
        "model.architecture.d_model=32",
        "model.architecture.d_mlp=64",
        "model.architecture.rotary_fraction=1.0",
    ]
    overrides += ["model.architecture.rotary_base=50000.0", "model.architecture.parallel_residual=false"]
    extraction = extract(config(tmp_path, f"model.folder={llama}", "model.name=mine", *overrides))
    assert extraction.metadata["tokens_per_step"] == 15
    assert set(extraction.records["recipe"]) == {"ours"}


def test_another_model_under_a_described_name_is_refused(tmp_path, llama):
    with pytest.raises(ConfigError, match=r"it is not pocket-a; give it a name of its own: model\.name="):
        extract(config(tmp_path, f"model.folder={llama}"))


def altered(folder: Path, **change) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def test_the_shipped_family_keeps_its_recipe_and_a_step_of_another_model_is_named(tmp_path):
    copy = tmp_path / "copy"
    for step in (0, 1, 2):
        shutil.copytree(POCKET / f"step{step}", copy / f"step{step}")
    altered(copy / "step1", use_parallel_residual=False)
    extraction = extract(config(tmp_path, f"model.folder={copy}", model="pocket-d"))
    assert sorted(set(extraction.records["step"])) == [0, 2]
    assert extraction.metadata["tokens_per_step"] == 1024
    assert set(extraction.records["recipe"]) == {"nano"}
    assert "use_parallel_residual false, not true" in extraction.metadata["suspects"]["1"]
    requested = extract(config(tmp_path, f"model.folder={copy}", "checkpoints.suspects=true", model="pocket-d"))
    assert sorted(set(requested.records["step"])) == [0, 2]
    assert (
        "step 1 is of another model: its config.json says parallel_residual False" in requested.metadata["failed"]["1"]
    )


def test_every_number_of_the_first_step_is_held(tmp_path):
    for change, name in (({"vocab_size": 512, "rope_parameters": {"rope_theta": 5.0}}, "rotary_base"),):
        copy = tmp_path / name
        shutil.copytree(POCKET / "step0", copy / "step0")
        altered(copy / "step0", **change)
        with pytest.raises(ConfigError, match=f"model.architecture.{name}"):
            extract(config(tmp_path, f"model.folder={copy}", model="pocket-d", steps="[0]"))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_weights_that_are_all_zero_are_a_status_of_their_checkpoint(tmp_path):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    for step in (0, 1):
        shutil.copytree(POCKET / f"step{step}", copy / f"step{step}")
    weights = copy / "step1/model.safetensors"
    zero = {name: torch.zeros_like(value) for name, value in load_file(weights).items()}
    save_file(zero, weights, metadata={"format": "pt"})
    wanted = [f"model.folder={copy}"]
    extraction = extract(config(tmp_path, *wanted, model="pocket-d", steps="[0,1]"))
    assert sorted(set(extraction.records["step"])) == [0]
    assert extraction.runtime["statuses"]["1"] == "zero_median"
    with pytest.raises(CheckpointError, match=r"median of \|h\| is 0 at layer 0, sequence 0"):
        extract(config(tmp_path, *wanted, model="pocket-d", steps="[1]"))


def test_a_probe_longer_than_the_model_reads_is_refused(tmp_path, llama):
    wide = ["model.architecture.context=4096", "probe.length=129", "model.name=mine"]
    with pytest.raises(ConfigError, match=r"config\.json says the model reads 128"):
        extract(config(tmp_path, f"model.folder={llama}", *wide))


def test_every_reason_is_named():
    result = SweepResult()
    result.failed = {step: Failure("unreachable", f"step {step} does not exist", "") for step in range(3)}
    result.failed[7] = Failure("corrupt", "step 7 has no tokenizer.json", "fetch it")
    what, remedy = failure(result)
    assert what == (
        "4 of 4 checkpoints not measured: step 2 does not exist (1 for another reason: step 7 has no tokenizer.json)"
    )
    assert remedy == "run it again: finished ones are kept"
