import pytest

from massact import Architecture
from massact.errors import ArchitectureError
from massact.train import build_model

SHAPE = {"n_layers": 3, "d_model": 24, "n_heads": 4, "d_mlp": 96, "vocab_size": 300, "context": 16}


def test_parameter_count_is_that_of_the_hugging_face_model():
    architecture = Architecture(**SHAPE)
    assert architecture.n_parameters == sum(p.numel() for p in build_model(architecture, 0).parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_heads": 5}, "4, 6"),
        ({"n_layers": 0}, "n_layers"),
        ({"d_model": 24.5}, "d_model"),
        ({"rotary_fraction": 1.5}, "rotary_fraction"),
        ({"rotary_base": 0.0}, "rotary_base"),
    ],
)
def test_impossible_numbers_are_refused_by_name(change, words):
    with pytest.raises(ArchitectureError, match=words):
        Architecture(**{**SHAPE, **change})
