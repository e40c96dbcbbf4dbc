"""A probe longer than a model's table of positions is refused before any work."""

from __future__ import annotations

import json

import pytest
import torch
from benchmarks.faults_classes import CLASSES, made, saved, source_of

from massact.errors import MeasureError
from massact.extract import Probe, measure
from massact.extract.context import require_context
from massact.extract.options import SweepOptions
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from tests.models import tiny_model

BY_LABEL = {small.label: small for small in CLASSES}
# Class -> positions it has; RoBERTa keeps one row for padding, at 0 here, and counts from the next.
TABLES = {
    "GPT2LMHeadModel": 64, "GPTBigCodeForCausalLM": 64, "GPTNeoForCausalLM": 64, "OPTForCausalLM": 64,
    "OpenAIGPTLMHeadModel": 64, "BioGptForCausalLM": 64, "BertLMHeadModel": 64, "RobertaForCausalLM": 63,
    "GPTJForCausalLM": 64, "CodeGenForCausalLM": 64, "BartForCausalLM": 64, "XLMWithLMHeadModel": 64,
    "CTRLLMHeadModel": 64,
}  # fmt: skip


@pytest.mark.parametrize("label", TABLES)
def test_a_probe_as_long_as_the_table_is_measured_and_a_longer_one_refused_before_the_model_runs(label):
    model, longest = made(BY_LABEL[label], 0), TABLES[label]
    ids = torch.randint(3, 64, (1, 80), generator=torch.Generator().manual_seed(0))
    assert measure(model, ids[:, :longest]).top.shape == (1, 3, 3)
    ran = []
    model.register_forward_pre_hook(lambda *given: ran.append(given))
    for part in model.modules():
        part.register_forward_pre_hook(lambda *given: ran.append(given))
    with pytest.raises(MeasureError, match=rf"the probe has {longest + 1} tokens .* positions for {longest}") as caught:
        measure(model, ids[:, : longest + 1])
    assert not ran
    assert f"probe.length to {longest}" in caught.value.remedy


@pytest.mark.parametrize("label", ["BloomForCausalLM", "LlamaForCausalLM", "XLNetLMHeadModel", "MambaForCausalLM"])
def test_models_without_a_table_run_on(label):
    ids = torch.randint(3, 64, (1, 80), generator=torch.Generator().manual_seed(0))
    assert measure(made(BY_LABEL[label], 0), ids).top.shape == (1, 3, 3)


def test_rotary_positions_run_on_beyond_the_context():
    assert measure(tiny_model(context=32), torch.ones(1, 40, dtype=torch.long)).top.shape == (1, 2, 3)


def test_a_sweep_refuses_the_probe_before_any_weights_are_read(tmp_path):
    small = BY_LABEL["GPT2LMHeadModel"]
    saved(small, tmp_path)
    for step in (0, 1):
        (tmp_path / f"step{step}" / "model.safetensors").write_bytes(b"never read")
    probe = Probe.of(torch.ones(1, 65, dtype=torch.long))
    result, probe_used = measure_checkpoints(
        source_of(tmp_path, remote=False), [0, 1], lambda folder: probe, RecordStore(tmp_path / "records"),
        dtype="float32", device="cpu", label="t", options=SweepOptions(progress=False),
    )  # fmt: skip
    assert probe_used is None
    assert {str(failure) for failure in result.failed.values()} == {
        "the probe has 65 tokens in a sequence, gpt2 has positions for 64; set probe.length to 64 or less"
    }


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"model_type": ["gpt2"]}', '{"model_type": "gpt2"}', '{"n_positions": 8}']
)
def test_a_config_that_says_nothing_of_it_is_left_to_the_loader(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    require_context(tmp_path, 100)
    require_context(tmp_path / "nowhere", 100)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_positions": 99}))
    with pytest.raises(MeasureError, match="positions for 99"):
        require_context(tmp_path, 100)
