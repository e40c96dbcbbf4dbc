"""Edits of block outputs: the same as plain torch hooks, measured, removed on exit, and stored under their names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from massact.checkpoints import MemorySource
from massact.checkpoints.bridge import wrap_model
from massact.errors import MeasureError, NotFiniteError
from massact.extract import Magnitudes, Measurement, RecordStore, edited, measure
from massact.extract.blocks import Layout, hooked
from massact.extract.options import SweepOptions
from massact.extract.provenance import record_key
from massact.extract.sweep import measure_checkpoints
from massact.train import LiveMeasurement, Subject
from tests.extract.sweeping import PROBE
from tests.models import tiny, tiny_model

TOKENS = torch.from_numpy(PROBE.tokens).long()
PLACE, DIMENSION = 0, 5


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).eval()  # fmt: skip


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=4)).eval()


MODELS = {"neox": tiny_model, "llama": llama, "gpt2": gpt2}


def made(kind: str, bridged: bool):
    torch.manual_seed(0)
    model = MODELS[kind]()
    return wrap_model(model, "tiny", dtype="float32", device="cpu") if bridged else model


def plain(model):
    """The plain model, also of a bridge."""
    return getattr(model, "original_model", model)


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return plain(model)(TOKENS, use_cache=False).logits


def hook_counts(model) -> list[int]:
    parts = list(plain(model).modules())
    return [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts] + [
        len(getattr(part, "fwd_hooks", ())) for part in parts
    ]


def zero(hidden, layer):
    hidden[:, PLACE, DIMENSION] = 0
    return hidden


def to_mean(hidden, layer):
    mean = hidden[..., DIMENSION].mean()
    return torch.where(torch.arange(hidden.shape[-1]) == DIMENSION, mean, hidden)


def scaled(hidden, layer):
    hidden[:, PLACE, DIMENSION] *= 1 + layer
    return hidden


def by_hand(model, edits) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the block outputs after the edits, by hooks written out."""
    base = model.base_model
    blocks = getattr(base, "layers", None) or base.h
    outputs: dict[int, torch.Tensor] = {}

    def hook(layer):
        def call(module, args, output):
            hidden = output[0] if isinstance(output, tuple) else output
            for edit in edits.get(layer, ()):
                hidden = edit(hidden.clone(), layer)
            outputs[layer] = hidden
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return call

    handles = [block.register_forward_hook(hook(layer)) for layer, block in enumerate(blocks)]
    result = logits(model)
    for handle in handles:
        handle.remove()
    return result, [outputs[layer] for layer in sorted(outputs)]


@pytest.mark.parametrize("bridged", [False, True], ids=["plain", "bridge"])
@pytest.mark.parametrize("kind", MODELS)
def test_it_is_what_plain_torch_hooks_do_and_is_gone_afterwards(kind, bridged):
    model = made(kind, bridged)
    before, hooks = logits(model), hook_counts(model)
    unedited = measure(model, TOKENS)
    expected, outputs = by_hand(made(kind, False), {0: [zero, scaled], 1: [to_mean]})
    with edited(model, {0: zero, 1: to_mean}, name="first"), edited(model, {0: scaled}, name="second"):
        assert torch.equal(logits(model), expected)
        measured = measure(model, TOKENS)
    assert measured.edits == ("first", "second")
    for layer, hidden in enumerate(outputs):  # also at the edited layer itself: after the edit
        largest = hidden.abs().flatten(1).sort(descending=True, stable=True)
        assert np.array_equal(measured.top[:, layer], largest.values[:, :3].numpy())
    assert not torch.equal(before, expected)
    assert torch.equal(logits(model), before)
    assert hook_counts(model) == hooks
    after = measure(model, TOKENS)
    assert after.edits == ()
    assert all(np.array_equal(array, unedited.arrays()[name]) for name, array in after.arrays().items())


@pytest.mark.parametrize("kind", ["tuple", "list", "named"])
def test_what_a_block_returns_beside_the_hidden_state_stays(kind):
    from collections import namedtuple

    forms = {"tuple": tuple, "list": list, "named": namedtuple("Output", ["hidden", "cache"])._make}
    form = forms[kind]

    class Block(torch.nn.Module):
        def forward(self, hidden):
            return form([hidden, "cache"])

    class Blocks(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([Block()])

    model, hidden = Blocks(), torch.ones(1, 2, 3)
    from massact.extract.blocks import Decoder

    decoder = Decoder(model, 1, 300, None)
    with hooked(decoder, Layout("layers"), {0: lambda layer, h: 2 * h}):
        output = model.layers[0](hidden)
    assert type(output) is type(form([hidden, "cache"]))
    assert torch.equal(output[0], 2 * hidden) and output[1] == "cache"
    with hooked(decoder, Layout("layers", position_first=True), {0: lambda layer, h: h + torch.arange(3)[None, :1]}):
        assert model.layers[0](hidden)[0].shape == (1, 2, 3)


def test_gradients_flow_through_an_edit_in_place():
    model = tiny_model()
    with edited(model, {0: scaled}):
        model(TOKENS, use_cache=False).logits.sum().backward()
    assert model.gpt_neox.embed_in.weight.grad.abs().sum() > 0


def test_a_compiled_model_is_edited(monkeypatch):
    expected = by_hand(tiny_model(), {0: [zero]})[0]
    model = torch.compile(tiny_model(), backend="eager")
    with torch.no_grad():
        before = model(TOKENS, use_cache=False).logits
        with edited(model, {0: zero}):
            assert torch.equal(model(TOKENS, use_cache=False).logits, expected)
        assert torch.equal(model(TOKENS, use_cache=False).logits, before)


REFUSED = {
    "a layer it has not": ({2: zero}, r"GPTNeoXModel has no layer 2 to edit; layers are 0 to 1"),
    "a layer from the end": ({-1: zero}, r"no layer -1"),
    "no layer": ({"0": zero}, r"no layer '0'"),
    "no function": ({0: 3.0}, r"the edit of layer 0 is float, not callable"),
}


@pytest.mark.parametrize("edits, message", REFUSED.values(), ids=REFUSED)
def test_edits_that_cannot_be_are_refused(edits, message):
    model = tiny_model()
    with pytest.raises(MeasureError, match=message), edited(model, edits):
        pass
    assert not any(hook_counts(model))


RETURNED = {
    "nothing": (lambda hidden, layer: None, r"returned NoneType in place of float32 \(\d+, \d+, 16\) on cpu"),
    "another shape": (lambda hidden, layer: hidden[:, 1:], r"returned float32 \(\d+, \d+, 16\) on cpu in place of"),
    "another dtype": (lambda hidden, layer: hidden.double(), r"returned float64"),
    "another device": (lambda hidden, layer: hidden.to("meta"), r"returned float32 .* on meta"),
}


@pytest.mark.parametrize("bridged", [False, True], ids=["plain", "bridge"])
@pytest.mark.parametrize("edit, message", RETURNED.values(), ids=RETURNED)
def test_an_edit_that_returns_something_else_is_refused_and_removed(edit, message, bridged):
    model = made("neox", bridged)
    measure(model, TOKENS)  # a bridge's first pass adds hooks of its own
    hooks = hook_counts(model)
    with pytest.raises(MeasureError, match=f"the edit of layer 1 of GPTNeoXModel {message}"), edited(model, {1: edit}):
        measure(model, TOKENS)
    assert hook_counts(model) == hooks


def record(model, **more):
    return record_key(MemorySource({0: model}).identify(0), PROBE, "float32", "cpu", Magnitudes(), **more)


def test_the_store_keeps_an_edited_measurement_only_under_the_names_of_its_edits(tmp_path):
    store, model = RecordStore(tmp_path), tiny_model()
    own, named = record(model), record(model, edits=["zero"])
    assert own != named and record(model, edits=[]) == own
    with edited(model, {}, name="zero"):
        assert measure(model, TOKENS).edits == ()
    with edited(model, {1: zero}):
        unnamed = measure(model, TOKENS)
    with edited(model, {1: zero}, name="zero"):
        measurement = measure(model, TOKENS)
    assert measurement.only("magnitudes").edits == ("zero",)
    with pytest.raises(MeasureError, match=r"under edits \(zero\), the other of the model without edits"):
        measurement.with_also(measure(model, TOKENS))
    refused = [(measurement, own), (measurement, str(own)), (unnamed, named), (unnamed, record(model, edits=[""]))]
    for outcome, key in [*refused, (measure(model, TOKENS), named)]:
        with pytest.raises(MeasureError, match="cannot be the record of"):
            store.write(key, outcome)
    assert not list(tmp_path.rglob("*.record"))
    store.write(named, measurement)
    again = store.read(named)
    assert isinstance(again, Measurement) and again.edits == ("zero",)
    assert np.array_equal(again.top, measurement.top)
    assert store.read(own) is None


def test_an_overflow_under_an_edit_is_no_record_of_the_model_itself(tmp_path):
    store, model = RecordStore(tmp_path), tiny_model()
    with (
        edited(model, {0: lambda hidden, layer: hidden * torch.inf}, name="overflow"),
        pytest.raises(NotFiniteError) as caught,
    ):
        measure(model, TOKENS)
    with pytest.raises(MeasureError, match="cannot be the record of the model without edits"):
        store.write(record(model), caught.value)
    named = record(model, edits=["overflow"])
    store.write(named, caught.value)
    again = store.read(named)
    assert isinstance(again, NotFiniteError) and again.edits == ("overflow",)


def swept(model, folder):
    return measure_checkpoints(
        MemorySource({0: model}, tokenizer_folder=folder), [0], lambda small: PROBE, RecordStore(folder / "records"),
        dtype="float32", device="cpu", label="tiny", options=SweepOptions(progress=False),
    )[0]  # fmt: skip


@pytest.mark.parametrize("copied", [False, True], ids=["itself", "a copy"])
def test_no_sweep_and_no_training_stores_an_edited_model(tmp_path, copied):
    import copy

    model = tiny_model()
    subject = Subject(family="own", recipe="own", model="tiny", architecture=tiny().as_dict(), tokens_per_step=10)
    live = LiveMeasurement(subject, PROBE, [0], store=RecordStore(tmp_path / "records"), journal=tmp_path / "j.json")
    with edited(model, {0: zero}, name="zero"):
        passed = copy.deepcopy(model) if copied else model
        result = swept(passed, tmp_path)
        with pytest.raises(MeasureError, match=r"under edits \(zero\); call it outside of massact.extract.edited"):
            live(0, passed)
    assert result.failed[0].status == "failed"
    assert "cannot be the record of the model without edits" in result.failed[0].what
    assert not list(tmp_path.rglob("*.record"))
    live(0, model)
    assert swept(model, tmp_path).statuses() == {0: "stored"}
    live.end()
