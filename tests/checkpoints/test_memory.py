"""Weights in memory as a source: a model in training is swept unchanged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXModel

from massact.checkpoints import CheckpointSource, CheckpointStatus, MemorySource, SourceError
from massact.checkpoints.memory import parameters_sha256
from massact.errors import MeasureError
from massact.extract import measure
from massact.extract.options import SweepOptions
from massact.extract.provenance import record_key
from massact.extract.store import RecordStore
from massact.extract.sweep import measure_checkpoints
from tests.extract.sweeping import PROBE
from tests.models import tiny_model


def sweep(source, store: Path, dtype: str = "float32"):
    result, _ = measure_checkpoints(
        source,
        source.steps(),
        lambda folder: PROBE,
        RecordStore(store),
        dtype=dtype,
        device="cpu",
        label="tiny",
        options=SweepOptions(progress=False),
    )
    return result


def test_it_is_a_source():
    source = MemorySource({4: tiny_model(), 2: tiny_model()})
    assert isinstance(source, CheckpointSource)
    assert source.steps() == [2, 4]
    with pytest.raises(SourceError) as raised:
        source.identify(3)
    assert raised.value.status is CheckpointStatus.REVISION_MISSING


def test_a_model_in_training_is_measured_as_it_is_and_left_so(tmp_path):
    model = tiny_model(seed=1).train()
    names = list(model.state_dict())
    result = sweep(MemorySource({8: model}, tokenizer_folder=tmp_path), tmp_path)
    assert np.array_equal(result.measured[8].top, measure(model, torch.from_numpy(PROBE.tokens)).top)
    assert list(model.state_dict()) == names
    assert model.training
    # The record is that of these weights: found again for them, not for others.
    assert not sweep(MemorySource({9: model}, tokenizer_folder=tmp_path), tmp_path).seconds
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert sorted(sweep(MemorySource({9: model}, tokenizer_folder=tmp_path), tmp_path).seconds) == [9]


def test_another_format_than_the_model_is_in_is_refused(tmp_path):
    result = sweep(MemorySource({0: tiny_model()}, tokenizer_folder=tmp_path), tmp_path, "bfloat16")
    assert result.failed[0].status == "load_failed"
    assert "float32" in result.failed[0].what


def test_a_model_in_memory_is_never_made_a_bridge_and_has_the_tokenizer_it_is_given(tmp_path):
    source = MemorySource({0: tiny_model()})
    with pytest.raises(SourceError, match="cannot be wrapped in a bridge"):
        source.load(source.resolve(0))
    with pytest.raises(SourceError, match="no tokenizer"):
        source.tokenizer(0)


def key_of(model) -> str:
    return record_key(MemorySource({0: model}).identify(0), PROBE, "float32", "cpu")


def inner(model):
    return model.gpt_neox


class OwnForward(GPTNeoXModel):
    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.last_hidden_state *= 2
        return out


def with_own_class(model):
    inner(model).layers[0].__class__ = type("Layer", (type(inner(model).layers[0]),), {})


FOREIGN = {
    "a forward of one module": lambda m: setattr(inner(m).layers[1], "forward", inner(m).layers[1].forward),
    "a hook": lambda m: inner(m).layers[0].register_forward_hook(lambda module, args, output: output),
    "a hook before": lambda m: inner(m).register_forward_pre_hook(lambda module, args: args),
    "a class": lambda m: setattr(inner(m), "__class__", OwnForward),
    "a class of a part": with_own_class,
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_model_with_code_of_its_own_is_measured_and_never_taken_from_the_store(tmp_path, change):
    model = tiny_model()
    first = sweep(MemorySource({0: model}, tokenizer_folder=tmp_path), tmp_path)
    assert not MemorySource({0: model}).identify(0).foreign
    change(model)
    assert MemorySource({0: model}).identify(0).foreign
    assert key_of(model) != key_of(model)
    for _ in range(2):
        again = sweep(MemorySource({0: model}, tokenizer_folder=tmp_path), tmp_path)
        assert sorted(again.seconds) == [0]
    assert sorted(first.seconds) == [0]


def test_a_class_changed_while_the_program_runs_is_foreign(monkeypatch):
    from transformers.models.gpt_neox import modeling_gpt_neox

    own = modeling_gpt_neox.GPTNeoXMLP.forward
    assert not MemorySource({0: tiny_model()}).identify(0).foreign
    monkeypatch.setattr(modeling_gpt_neox.GPTNeoXMLP, "forward", lambda self, x: 2 * own(self, x))
    assert "GPTNeoXMLP" in MemorySource({0: tiny_model()}).identify(0).foreign


def test_buffers_and_settings_that_change_a_result_are_in_the_key():
    model = tiny_model()
    plain = key_of(model)
    assert key_of(tiny_model()) == plain
    model.config._name_or_path, model.config.use_cache = "elsewhere", False
    model.config.transformers_version = "1"
    assert key_of(model) == plain
    frequencies = next(b for name, b in model.named_buffers() if name.endswith("inv_freq"))
    frequencies *= 3
    tripled = key_of(model)
    assert tripled != plain
    frequencies /= 3
    model.config.layer_norm_eps = 1e-1
    assert key_of(model) not in (plain, tripled)


def test_default_dtype_and_matmul_precision_are_in_the_key():
    model = tiny_model()
    plain = key_of(model)
    torch.set_default_dtype(torch.float64)
    try:
        assert key_of(model) != plain
    finally:
        torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("medium")
    try:
        assert key_of(model) != plain
    finally:
        torch.set_float32_matmul_precision("highest")
    assert key_of(model) == plain


def test_the_decoder_is_the_same_whatever_the_unembedding():
    model = tiny_model()
    before = MemorySource({0: model}).identify(0)
    with torch.no_grad():
        model.get_output_embeddings().weight += 1
    after = MemorySource({0: model}).identify(0)
    assert before.weights_sha256 != after.weights_sha256
    assert before.decoder_sha256 == after.decoder_sha256
    with torch.no_grad():
        model.get_input_embeddings().weight += 1
    assert MemorySource({0: model}).identify(0).decoder_sha256 != before.decoder_sha256


def test_the_hash_of_the_weights_is_what_it_was():
    digest = hashlib.sha256()
    model = tiny_model().bfloat16()
    for name, held in sorted(model.named_parameters()):
        digest.update(f"{name} {held.dtype} {tuple(held.shape)}\n".encode())
        digest.update(held.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    assert parameters_sha256(model) == MemorySource({0: model}).identify(0).weights_sha256 == digest.hexdigest()


def test_weights_that_are_not_here_are_named():
    with pytest.raises(MeasureError, match="meta device"):
        MemorySource({0: tiny_model().to("meta")}).identify(0)
