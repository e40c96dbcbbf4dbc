"""A choice of layers as text."""

import pytest

from massact.errors import ConfigError
from massact.layers import check_layers, layers_named, layers_text


@pytest.mark.parametrize(
    ("text", "layers"),
    [("0", [0]), ("last", [7]), ("0,3-5,last", [0, 3, 4, 5, 7]), ("5-last", [5, 6, 7]), ("2, 1,1-2", [1, 2])],
)
def test_a_text_names_layers_ascending_each_once(text, layers):
    check_layers(text)
    assert layers_named(text, 8) == layers


@pytest.mark.parametrize("text", ["", "0,", "x", "-1", "1-2-3", "all", "0;1", "1.5", "０", "last-first", "9" * 99])
def test_what_names_no_layers_is_refused(text):
    with pytest.raises(ConfigError, match="names no layers") as caught:
        check_layers(text)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="names no layers"):
        layers_named(text, 8)


def test_what_the_model_does_not_have_is_refused():
    with pytest.raises(ConfigError, match=r"no layer 8; the model has layers 0 to 7"):
        layers_named("0,5-8", 8)
    with pytest.raises(ConfigError, match="5-3 runs backwards; write 3-5"):
        check_layers("5-3")
    with pytest.raises(ConfigError, match="last-0 runs backwards"):
        layers_named("last-0", 8)


def test_a_list_of_layers_is_a_text():
    assert layers_text([0, "last"]) == "0,last"
    assert layers_text("0-2") == "0-2"
