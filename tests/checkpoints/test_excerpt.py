"""Headers and tensors of intact and damaged safetensors files, from a disk and by range requests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from massact.checkpoints.excerpt import file_reader, hub_reader, parse_header, read_header, read_values
from tests.hub import REPOSITORY, commit_of, serving


@pytest.fixture
def folder(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(6, 4)
    tensors = {
        "w": values.astype(np.float16),
        "v": values,
        "n": np.arange(3),
        **{f"pad{k}": values for k in range(1500)},
    }
    (tmp_path / "step0").mkdir()
    save_file(tensors, tmp_path / "step0" / "model.safetensors")
    return tmp_path / "step0"


def test_numbers_are_read_where_they_lie(folder):
    read = file_reader(folder / "model.safetensors")
    header = read_header(read)  # longer than the first bytes that are read
    assert header is not None
    assert header["w"].shape == (6, 4)
    assert read_values(read, header["w"]).tolist() == list(range(24))
    assert read_values(read, header["v"], first=20, most=2).tolist() == [20, 21]
    assert read_values(read, header["n"]) is None  # no floating-point numbers


def test_bfloat16_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save

    save({"b": torch.tensor([1.0, -2.5, 0.0], dtype=torch.bfloat16)}, tmp_path / "b.safetensors")
    read = file_reader(tmp_path / "b.safetensors")
    assert read_values(read, read_header(read)["b"]).tolist() == [1.0, -2.5, 0.0]


@pytest.mark.usefixtures("online")
def test_a_hub_is_asked_for_a_few_bytes(folder):
    with serving({REPOSITORY: {"step0": folder}}) as hub:
        read = hub_reader(hub.url, REPOSITORY, commit_of(REPOSITORY, "step0"), "model.safetensors")
        header = read_header(read)
        assert header is not None
        assert read_values(read, header["v"], most=3).tolist() == [0, 1, 2]
        assert hub.requests["range"] == 3
        hub.whole_files = True
        assert read_header(read) is None
        hub.whole_files = False
        hub.fail = {"/resolve/": 500}
        assert read_header(read) is None
        hub.unplugged = True
        assert read(0, 8) is None
    assert read(0, 8) is None


def test_a_file_that_is_not_there_gives_nothing(tmp_path):
    assert read_header(file_reader(tmp_path / "none")) is None
    assert read_header(file_reader(tmp_path)) is None


@given(st.binary(max_size=200))
def test_any_bytes_give_a_header_or_none(content):
    parse_header(content)
    read_header(lambda begin, length: content[begin : begin + length])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "w"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=3))
def test_any_json_gives_a_header_or_none(content):
    import json

    text = json.dumps(content).encode()
    for stored in (parse_header(text) or {}).values():
        assert 0 <= stored.begin <= stored.end
        read_values(lambda begin, length: b"", stored)
