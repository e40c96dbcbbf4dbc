"""Code in a checkpoint, and code that it names, is not run or fetched unless the user allows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from massact.checkpoints import CheckpointStatus, FolderSource, SourceError, load_bridge, load_tokenizer
from massact.checkpoints.foreign import check_native
from massact.checkpoints.weights import CheckpointLoader
from tests.models import tiny_model

KERNEL = "someone/kernel"
OWN_CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
class Config(GPTNeoXConfig):
    model_type = "foreign"
class Model(GPTNeoXForCausalLM):
    config_class = Config
"""


def edit(folder: Path, **keys) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    return folder


@pytest.fixture
def step(tmp_path) -> Path:
    tiny_model(seed=3).save_pretrained(tmp_path / "family" / "step0")
    return tmp_path / "family" / "step0"


@pytest.fixture
def foreign(step, tmp_path) -> Path:
    """A checkpoint of an unknown type whose own code leaves a mark when it is run."""
    (step / "code.py").write_text(OWN_CODE.format(mark=str(tmp_path / "mark")))
    (step / "own.py").write_text(OWN_CODE.format(mark=str(tmp_path / "mark")))
    auto_map = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    return edit(step, model_type="foreign", auto_map=auto_map)


def loaded(source: FolderSource):
    loader = CheckpointLoader()
    return loader.load(loader.prepare(source.resolve(0)))


def refused(call, *arguments) -> SourceError:
    with pytest.raises(SourceError) as caught:
        call(*arguments)
    assert caught.value.status is CheckpointStatus.LOAD_FAILED
    assert "\n" not in str(caught.value)
    return caught.value


YES_CODE = """
import sys
from pathlib import Path
from massact.checkpoints import FolderSource, load_bridge
from massact.checkpoints.weights import CheckpointLoader
from massact.errors import MassactError
folder = Path(sys.argv[1])
def load():
    loader = CheckpointLoader()
    loader.load(loader.prepare(FolderSource(folder.parent).resolve(0)))
for call in (lambda: load_bridge(folder), load, lambda: FolderSource(folder.parent).tokenizer(0)):
    try:
        call()
    except MassactError as error:
        sys.stdout.write(f"{error}\\n")
sys.stdout.write(repr(sys.stdin.readline()))
"""


def test_a_stream_of_yes_on_standard_input_runs_no_code_and_is_not_read(foreign, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", YES_CODE, str(foreign)],
        input="y\n" * 1000,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")},
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mark").exists()
    assert done.stdout.count("model.trust_remote_code=true") == 2
    assert done.stdout.endswith("'y\\n'")
    assert "Do you wish" not in done.stdout + done.stderr


def test_code_runs_only_where_it_is_trusted_and_its_hash_is_in_the_key(foreign, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    plain, trusting = FolderSource(foreign.parent), FolderSource(foreign.parent, trust_remote_code=True)
    refused(loaded, plain)
    assert not (tmp_path / "mark").exists()
    model = loaded(trusting)
    assert (tmp_path / "mark").exists()
    assert type(model).__name__ == "Model"
    expected = tiny_model(seed=3).state_dict()
    tensors = model.state_dict()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items() if name.startswith("gpt_neox."))
    before = trusting.identify(0)
    assert (plain.identify(0).code, len(before.code)) == ("", 64)
    assert before.config_id != plain.identify(0).config_id
    (foreign / "own.py").write_text((foreign / "own.py").read_text() + "\n")
    assert trusting.identify(0).config_id != before.config_id


def test_a_key_in_the_table_says_that_code_was_trusted(foreign):
    import numpy as np

    from massact.extract.outcome import SweepResult
    from massact.extract.probe import Probe
    from massact.extract.provenance import provenance, record_key

    probe = Probe(np.zeros((1, 2), dtype=np.int64), "t", -1)
    plain, trusted = (FolderSource(foreign.parent, trust_remote_code=t).identify(0) for t in (False, True))
    assert record_key(plain, probe, "float32", "cpu") != record_key(trusted, probe, "float32", "cpu")
    metadata = [provenance(SweepResult(identified={0: i}), probe, dtype="float32", fixed={}) for i in (plain, trusted)]
    assert "code_sha256" not in metadata[0]["checkpoints"]["0"]
    assert metadata[1]["checkpoints"]["0"]["code_sha256"] == trusted.code


def test_code_of_another_repository_is_refused_even_where_code_is_trusted(foreign):
    edit(foreign, auto_map={"AutoConfig": "someone/else--own.Config"})
    assert "auto_map" in refused(loaded, FolderSource(foreign.parent, trust_remote_code=True)).what


def test_a_known_type_with_code_of_its_own_is_loaded_by_transformers_class(step, tmp_path):
    (step / "own.py").write_text(OWN_CODE.format(mark=str(tmp_path / "mark")))
    edit(step, auto_map={"AutoConfig": "x/y--own.Config", "AutoModelForCausalLM": "own.Model"})
    assert type(loaded(FolderSource(step.parent))).__name__ == "GPTNeoXForCausalLM"
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "keys",
    [
        {"attn_implementation": KERNEL},
        {"_attn_implementation": KERNEL},
        {"_attn_implementation_internal": f"{KERNEL}@main:forward"},
        {"attn_implementation": f"paged|{KERNEL}"},
        {"attn_implementation": {"": "eager", "text_config": KERNEL}},
        {"attn_implementation": "flash_attention_2"},
        {"experts_implementation": KERNEL},
        {"_experts_implementation": KERNEL},
        {"text_config": {"attn_implementation": KERNEL}},
        {"text_config": {"layers": [{"_attn_implementation": KERNEL}]}},
        {"configuration_files": ["config.4.0.0.json"]},
        {"transformers_weights": "../other.safetensors"},
        {"kernel_config": {"kernel_mapping": {"RMSNorm": KERNEL}}},
        {"fusion_config": {"a": 1}},
    ],
)
def test_kernels_and_other_files_are_refused_at_any_place_in_the_configuration(step, keys):
    error = refused(loaded, FolderSource(edit(step, **keys).parent))
    assert "config.json" in error.what
    assert error.remedy
    refused(load_bridge, step)


@pytest.mark.parametrize("named", ["eager", "sdpa", None, {"": "eager"}])
def test_transformers_own_attention_is_let_through(step, named):
    check_native(step, {"model_type": "gpt_neox", "attn_implementation": named}, trusted=False)


def test_kernels_are_switched_off_in_transformers(step):
    loaded(FolderSource(step.parent))
    from transformers.integrations import hub_kernels

    assert hub_kernels._kernels_enabled is False


def test_neither_a_chat_template_nor_a_tokenizer_class_runs_code(weights, tmp_path):
    folder = shutil.copytree(weights["step2"], tmp_path / "step2")
    mark = tmp_path / "mark"
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Tokenizer: ...\n")
    path = folder / "tokenizer_config.json"
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}{% set x = cycler.__init__.__globals__.os.system('touch "
    template += f"{mark}') %}}"
    settings = {**json.loads(path.read_text()), "tokenizer_class": "Tokenizer", "chat_template": template}
    settings["auto_map"] = {"AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]}
    path.write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(template)
    code = "import sys; from pathlib import Path; from massact.checkpoints import load_tokenizer, load_bridge\n"
    code += "load_tokenizer(Path(sys.argv[1])); load_bridge(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, input="y\n" * 100, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()
    assert load_tokenizer(folder).decode([0]) == "<|endoftext|>"


def test_a_pickle_that_is_more_than_tensors_is_not_opened(step, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "mark",))

    (step / "model.safetensors").unlink()
    torch.save({"a": torch.ones(1), "b": Evil()}, step / "pytorch_model.bin")
    with pytest.raises(SourceError) as caught:
        loaded(FolderSource(step.parent))
    assert caught.value.status is CheckpointStatus.CORRUPT
    assert not (tmp_path / "mark").exists()
