import numpy as np
import pytest
import torch

from massact.errors import MeasureError, NotFiniteError, OutOfMemoryError
from massact.extract import measure
from tests.models import tiny_model


def test_finds_a_planted_spike():
    model = tiny_model()
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[7, 5] = 1000.0
    tokens = torch.tensor([[1, 2, 7, 3], [7, 1, 2, 3]])
    measured = measure(model, tokens)
    assert measured.token[:, 0, 0].tolist() == [2, 0]
    assert measured.dimension[:, :, 0].tolist() == [[5, 5], [5, 5]]


def test_leaves_the_model_as_it_was():
    model = tiny_model().train()
    measure(model, torch.tensor([[1, 2, 3]]))
    assert model.training
    assert not any(block._forward_hooks for block in model.gpt_neox.layers)


def test_overflow_names_sequence_layer_and_remedy():
    model = tiny_model()
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[7] = float("inf")
    with pytest.raises(MeasureError, match=r"sequence 1: layer 0 .*float32") as caught:
        measure(model, torch.tensor([[1, 2], [7, 2]]))
    assert "leave this checkpoint out" in caught.value.remedy
    half = tiny_model()
    with torch.no_grad():
        half.gpt_neox.embed_in.weight[7] = 60000.0
        half.gpt_neox.layers[0].mlp.dense_4h_to_h.bias[:] = 60000.0
    with pytest.raises(NotFiniteError, match="float16") as caught:
        measure(half.half(), torch.tensor([[7, 2]]))
    assert caught.value.remedy == "measure this checkpoint in float32"


class Greedy(torch.nn.Module):
    """A first block that needs more memory than there is for more than `room` sequences."""

    def __init__(self, block, room, error):
        super().__init__()
        self.block, self.room, self.error, self.asked = block, room, error, []

    def forward(self, hidden, *args, **named):
        self.asked.append(len(hidden))
        if len(hidden) > self.room:
            raise self.error
        return self.block(hidden, *args, **named)


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda e: type(e).__name__)
def test_fewer_sequences_at_once_when_memory_runs_out_and_the_same_numbers(error, caplog):
    tokens = torch.randint(0, 300, (10, 16), generator=torch.Generator().manual_seed(2))
    whole = measure(tiny_model(), tokens)
    model = tiny_model()
    model.gpt_neox.layers[0] = greedy = Greedy(model.gpt_neox.layers[0], 3, error)
    with caplog.at_level("WARNING", "massact"):
        measured = measure(model, tokens)
    assert greedy.asked == [10, 5, 2, 2, 2, 2, 2]
    assert ["10 sequences" in caplog.messages[0], "5 sequences" in caplog.messages[1]] == [True, True]
    assert all(np.array_equal(array, whole.arrays()[name]) for name, array in measured.arrays().items())


def test_not_even_one_sequence_fits():
    model = tiny_model()
    model.gpt_neox.layers[0] = Greedy(model.gpt_neox.layers[0], 0, MemoryError())
    with pytest.raises(OutOfMemoryError, match="does not fit") as caught:
        measure(model, torch.tensor([[1, 2]]))
    assert "bfloat16" in caught.value.remedy


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    model = tiny_model()
    model.gpt_neox.layers[0] = Greedy(model.gpt_neox.layers[0], 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        measure(model, torch.tensor([[1, 2]]))


def test_the_number_of_sequences_at_once_changes_nothing():
    tokens = torch.randint(0, 300, (7, 16), generator=torch.Generator().manual_seed(3))
    one = measure(tiny_model(), tokens, sequences_at_once=1)
    many = measure(tiny_model(), tokens, sequences_at_once=5)
    assert all(np.array_equal(array, many.arrays()[name]) for name, array in one.arrays().items())


@pytest.mark.parametrize("shape", [(3,), (0, 4), (1, 2, 3)])
def test_tokens_of_another_shape_are_refused(shape):
    with pytest.raises(MeasureError, match="shape"):
        measure(tiny_model(), torch.zeros(shape, dtype=torch.long))
