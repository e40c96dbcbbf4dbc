from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from massact.errors import ConfigError, MassactError, MeasureError, MissingInputError
from massact.extract.own_probe import encoder_of, file_probe, first_token_of, random_probe, text_probe

WORDS = {"<s>": 0, "</s>": 1, "a": 2, "rose": 3, "is": 4, "[UNK]": 5}
TEXT = "a rose is a rose is a rose"


@pytest.fixture
def folder(tmp_path):
    """A folder with a tokenizer of words that puts <s> in front."""
    save(tmp_path, "<s> $A </s>")
    return tmp_path


def save(folder, template):
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(("template", "first"), [("", None), ("<s> $A", 0), ("<s> $A </s>", 0), ("$A </s>", None)])
def test_sequences_begin_as_the_tokenizer_begins_them(template, first, tmp_path):
    save(tmp_path, template)
    assert first_token_of(encoder_of(tmp_path)) == first
    probe = text_probe(tmp_path, TEXT, name="roses", sequences=2, length=4)
    body = [2, 3, 4, 2, 3, 4, 2, 3]
    rows = [[0, *body[:3]], [0, *body[3:6]]] if first == 0 else [body[:4], body[4:]]
    assert probe.tokens.tolist() == rows
    assert (probe.first_token, probe.text) == (-1 if first is None else first, "roses")


def test_random_tokens_are_of_the_vocabulary_and_repeat():
    probe = random_probe(7, sequences=50, length=20, seed=3)
    assert probe.tokens.shape == (50, 20)
    assert set(probe.tokens.flatten()) == set(range(7))
    assert probe.sha256 == random_probe(7, sequences=50, length=20, seed=3).sha256
    assert probe.sha256 != random_probe(7, sequences=50, length=20, seed=4).sha256
    assert probe.text == "random seed 3"


def test_a_file_holds_token_ids_or_text(folder):
    np.save(folder / "ids.npy", np.arange(12).reshape(3, 4))
    probe = file_probe(folder / "ids.npy", folder, sequences=2, length=99)
    assert probe.tokens.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    (folder / "own.txt").write_text(TEXT)
    probe = file_probe(folder / "own.txt", folder, sequences=1, length=3)
    assert (probe.tokens.tolist(), probe.text) == ([[0, 2, 3]], "own.txt")


@pytest.mark.parametrize(
    ("name", "content", "kind", "match"),
    [
        ("none.npy", None, MissingInputError, "does not exist"),
        ("text.npy", b"a rose", ConfigError, "not an array"),
        ("flat.npy", np.arange(3), ConfigError, "shape"),
        ("real.npy", np.ones((3, 3)), ConfigError, "float64"),
        ("few.npy", np.ones((1, 3), dtype=int), ConfigError, "holds 1 sequences, 2"),
        ("below.npy", -np.ones((3, 3), dtype=int), MeasureError, "token -1 is not a token id"),
        ("latin.txt", b"r\xf6se", ConfigError, "UTF-8"),
        ("short.txt", b"a rose", ConfigError, "the text has 2 tokens"),
    ],
)
def test_a_file_that_is_no_probe_is_refused_in_one_line(name, content, kind, match, folder):
    if isinstance(content, np.ndarray):
        np.save(folder / name, content)
    elif content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(kind, match=match) as caught:
        file_probe(folder / name, folder, sequences=2, length=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "{}", "[1"])
def test_a_folder_without_a_tokenizer_says_what_to_give_instead(content, tmp_path):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(MassactError, match="tokenizer") as caught:
        encoder_of(tmp_path)
    assert "--probe FILE.npy" in str(caught.value)
