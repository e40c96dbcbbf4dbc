import json

import numpy as np
import pytest
import torch

from massact.errors import ConfigError, MeasureError
from massact.extract.probe import Probe, chunk, encode, sampled_documents
from massact.train import train_tokenizer


def test_chunks_are_consecutive_and_begin_with_the_first_token():
    ids = np.arange(1, 50)
    plain = chunk(ids, sequences=3, length=8, first_token=None, text="t")
    assert np.array_equal(plain.tokens.ravel(), ids[:24])
    assert plain.first_token == -1
    led = chunk(ids, sequences=3, length=8, first_token=0, text="t")
    assert led.tokens[:, 0].tolist() == [0, 0, 0]
    assert np.array_equal(led.tokens[:, 1:].ravel(), ids[:21])
    assert led.length == plain.length == 8
    assert led.sha256 != plain.sha256


def test_sequences_of_ones_own_are_a_probe_of_the_same_hash_however_they_are_given():
    rows = [[0, 5, 7], [0, 8, 9]]
    probes = [Probe.of(given, first_token=0) for given in (rows, np.array(rows, dtype=np.int32), torch.tensor(rows))]
    assert len({probe.sha256 for probe in probes}) == 1
    assert (probes[0].text, probes[0].first_token, probes[0].length) == ("own", 0, 3)
    assert Probe.of(rows).first_token == -1


@pytest.mark.parametrize("given", [[1, 2], [[0.5, 1.0]], [[]], [[1, 2], [3]]])
def test_what_is_no_table_of_ids_is_no_probe(given):
    with pytest.raises(MeasureError, match=r"\(sequence, position\)"):
        Probe.of(given)


def test_a_probe_begins_with_the_token_it_is_said_to_begin_with():
    with pytest.raises(MeasureError, match="begins with token 0"):
        Probe.of([[0, 1], [2, 3]], first_token=0)


def test_a_text_too_short_says_how_much_it_holds():
    with pytest.raises(ConfigError, match=r"probe\.sequences to 2"):
        chunk(np.arange(20), sequences=3, length=8, first_token=None, text="t")


def test_encoding_adds_no_special_tokens(tmp_path):
    tokenizer = train_tokenizer(["to be or not to be"] * 20, 270)
    tokenizer.save_pretrained(tmp_path)
    ids = encode(tmp_path / "tokenizer.json", "to be or not")
    assert 0 not in ids
    assert tokenizer.decode(ids.tolist()) == "to be or not"


def test_documents_are_drawn_as_the_reference_code_draws_them(tmp_path):
    texts = [f"document {number}\u2028of many" for number in range(30)]
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, part in zip(paths, (texts[:11], texts[11:]), strict=True):
        path.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in part), encoding="utf-8")
    np.random.seed(1)  # noqa: NPY002
    order = np.random.choice(30, 7, replace=False)  # noqa: NPY002
    assert sampled_documents(paths, documents=7, seed=1) == "\n\n".join(texts[number] for number in order)
    with pytest.raises(ConfigError, match="30 documents"):
        sampled_documents(paths, documents=31, seed=1)


def test_a_damaged_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("not a tokenizer")
    with pytest.raises(MeasureError, match=r"tokenizer\.json is not a tokenizer"):
        encode(tmp_path / "tokenizer.json", "text")
