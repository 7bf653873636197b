"""Texts larger than memory: reading in blocks gives the same text."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad_llm.data import LongText, read_text
from tinygrad_llm.data.files import read_blocks
from tinygrad_llm.errors import DataError

contents = st.one_of(
    st.text("aé漢🙂\ufeff\r\n ", max_size=20).map(str.encode),
    st.lists(
        st.sampled_from(
            [
                b"a",
                b"\xc3",
                b"\xa9",
                b"\xe6\xbc",
                b"\xf0\x9f\x99",
                b"\x82",
                b"\xed\xa0\x80",
                b"\xef\xbb\xbf",
                b"\xff",
                b"\r\n",
            ]
        ),
        max_size=12,
    ).map(b"".join),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(content=contents, size=st.integers(1, 7))
def test_blocks_give_the_text_or_the_same_error(tmp_path: Path, content: bytes, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    try:
        wanted = content.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        place = error.start + 3 * content.startswith(b"\xef\xbb\xbf")
        with pytest.raises(DataError, match=rf"byte {place} is 0x{content[place]:02x} \({error.reason}\)"):
            list(read_blocks(path, size))
    else:
        if not wanted:
            with pytest.raises(DataError, match="the file is empty"):
                list(read_blocks(path, size))
            return
        blocks = list(read_blocks(path, size))
        assert "".join(blocks) == wanted == read_text(path)
        assert all(0 < len(block) <= size for block in blocks)


@given(st.lists(st.text(max_size=5), max_size=6), st.integers(0, 25), st.integers(0, 25))
def test_any_part_of_a_text_can_be_read(blocks: list[str], start: int, stop: int) -> None:
    text = LongText("text", lambda: iter(blocks))
    assert "".join(text.blocks()) == "".join(blocks)
    assert "".join(text.blocks(start, stop)) == "".join(blocks)[start:stop]
    assert "".join(text.blocks(start)) == "".join(blocks)[start:]


def test_files_are_one_text_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    for name, content in {"b.txt": "second é", "a.txt": "\ufefffirst\r\n", "with space/c d.md": "third"}.items():
        (tmp_path / name).write_bytes(content.encode())
    whole = "first\r\n\n\nsecond é\n\nthird"
    text = LongText.of_files(tmp_path)
    assert "".join(text.blocks()) == whole
    survey = text.survey
    assert (survey.characters, survey.bytes) == (len(whole), len(whole.encode()))
    assert survey.sha256 == hashlib.sha256(whole.encode()).hexdigest()
    assert "".join(LongText.of_files(f"{tmp_path}/with space/*").blocks()) == "third"
    assert LongText.of_string("text", whole).survey == survey


def test_invalid_texts_are_named(tmp_path: Path) -> None:
    for content in (" \n", "\u3000\t"):
        (tmp_path / "blank.txt").write_text(content)
        with pytest.raises(DataError, match="holds only white space"):
            _ = LongText.of_files(tmp_path).survey
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"image\.txt must be UTF-8; byte 0 is 0x89"):
        _ = LongText.of_files(tmp_path).survey
    (tmp_path / "image.txt").write_bytes(b"")
    (tmp_path / "blank.txt").unlink()
    with pytest.raises(DataError, match=r"image\.txt must hold text; the file is empty"):
        _ = LongText.of_files(tmp_path).survey


def test_an_empty_file_in_a_folder_is_left_out_with_a_note(tmp_path: Path) -> None:
    for name, content in (("a.txt", "one"), ("b.txt", ""), ("c.txt", "two")):
        (tmp_path / name).write_text(content)
    text = LongText.of_files(tmp_path)
    assert "".join(text.blocks()) == "one\n\ntwo"
    assert text.notes == ("1 empty file left out of 3",)
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "b.txt").write_text("")
    with pytest.raises(DataError, match="empty"):
        _ = LongText.of_files(tmp_path / "only").survey
