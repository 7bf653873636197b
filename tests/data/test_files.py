"""Reading unchecked files: the right value, or a DataError that says what to do."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad_llm.data import expand_paths, read_json, read_jsonl, read_rows, read_text
from tinygrad_llm.data.files import read_blocks
from tinygrad_llm.errors import ConfigError, DataError

READERS = [read_text, read_rows, read_json, read_jsonl]


def written(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# Text ---------------------------------------------------------------------------------------------------------------


def test_text_is_unchanged(tmp_path: Path) -> None:
    assert read_text(written(tmp_path, "naïve\r\n日本\n".encode())) == "naïve\r\n日本\n"
    assert read_text(str(written(tmp_path, b"\xef\xbb\xbfHi"))) == "Hi"


@pytest.mark.parametrize("reader", READERS)
def test_unreadable_files_are_named(tmp_path: Path, reader: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="is a folder"):
        reader(tmp_path)
    with pytest.raises(DataError, match=r"missing\.txt: .* none of that name"):
        reader(tmp_path / "missing.txt")
    for empty in (b"", b"\xef\xbb\xbf"):
        with pytest.raises(DataError, match="empty"):
            reader(written(tmp_path, empty))
    with pytest.raises(DataError, match=r"byte 5 is 0xe9 .* `iconv"):
        reader(written(tmp_path, b"\xef\xbb\xbfab\xe9 "))
    for path in ("a\0b", "x" * 5000, "\ud800", ""):
        with pytest.raises(DataError, match="must be a"):
            reader(path)


@pytest.mark.parametrize("reader", READERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(),
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text('[]{}",:\\ud8090e+-NanIfity\n\t', max_size=40).map(str.encode),
        st.integers(1, 4)
        .flatmap(lambda n: st.text('"[{:,1e', min_size=1, max_size=n))
        .map(lambda seed: (seed * 30_000).encode()),
    )
)
def test_any_content_gives_a_value_or_a_data_error(tmp_path: Path, reader: Callable[..., Any], content: bytes) -> None:
    path = written(tmp_path, content)
    try:
        reader(path)
    except DataError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    text = "naïve 日本\r\n🙂 done"
    path = written(tmp_path, ("\ufeff" + text).encode(encoding))
    assert read_text(path) == text
    for size in (1, 2, 3, 5, 7):
        assert "".join(read_blocks(path, size)) == text


@pytest.mark.parametrize(("encoding", "name"), [("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE")])
def test_utf_16_without_a_mark_is_refused_with_the_command_that_converts_it(
    tmp_path: Path, encoding: str, name: str
) -> None:
    path = written(tmp_path, "Plain text.\n".encode(encoding), "plain.txt")
    with pytest.raises(DataError, match=f"NUL character, as in {name}: convert it with `iconv -f {name} -t UTF-8 "):
        read_text(path)


def test_text_with_nuls_is_refused_and_advice_is_given_only_where_it_is_right(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NUL character: it looks like a binary file"):
        read_text(written(tmp_path, b"some text\0and more"))
    with pytest.raises(DataError, match="must be UTF-16, as its byte order mark says"):
        read_text(written(tmp_path, b"\xff\xfea"))
    with pytest.raises(DataError) as caught:
        read_text(written(tmp_path, b"caf\xe9"))
    assert "iconv -f ENCODING" in str(caught.value) and "WINDOWS" not in str(caught.value)


# Paths --------------------------------------------------------------------------------------------------------------


def test_paths_of_a_file_a_folder_and_a_glob(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in ("b.txt", "a.md", "deep/er/c.TXT", "deep/code.py", ".git/d.txt", ".hidden.txt", "odd[1].txt"):
        written(tmp_path, b"x", name)
    names = ["a.md", "b.txt", "deep/er/c.TXT", "odd[1].txt"]
    assert expand_paths(str(tmp_path)) == [tmp_path / name for name in names]
    assert expand_paths(str(tmp_path / "deep/code.py")) == [tmp_path / "deep/code.py"]
    assert expand_paths(str(tmp_path / "odd[1].txt")) == [tmp_path / "odd[1].txt"]
    assert expand_paths(f"{tmp_path}/**/*.py") == [tmp_path / "deep/code.py"]
    assert expand_paths(f"{tmp_path}/*") == [tmp_path / name for name in ("a.md", "b.txt", "odd[1].txt")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"found none: put .*\.txt"):
        expand_paths(tmp_path / "empty")
    with pytest.raises(DataError, match="found none: check the spelling"):
        expand_paths(tmp_path / "*.none")


@given(st.text())
def test_any_name_gives_paths_or_a_data_error(name: str) -> None:
    with contextlib.suppress(DataError):
        assert all(isinstance(path, Path) for path in expand_paths("/nowhere/" + name))


# Rows ---------------------------------------------------------------------------------------------------------------


def test_rows_understand_quotes(tmp_path: Path) -> None:
    rows = [["label", "text"], ["a", 'say "hi", then\ngo']]
    content = b'label,text\r\n\r\na,"say ""hi"", then\ngo"\r\n'
    assert read_rows(written(tmp_path, content)) == rows
    assert read_rows(written(tmp_path, content.replace(b",", b"\t"), "x.TSV"))[0] == rows[0]
    assert read_rows(written(tmp_path, b"a;b"), ";") == [["a", "b"]]


def test_lines_joined_by_quotes_are_reported(tmp_path: Path) -> None:
    said: list[str] = []
    path = written(tmp_path, b'ham\t"one\nspam\ttwo"\nham\tthree\n\n', "sms.tsv")
    assert read_rows(path, say=said.append) == [["ham", "one\nspam\ttwo"], ["ham", "three"]]
    assert len(said) == 1 and said[0].endswith("3 lines became 2 rows: quoted fields hold line ends")
    assert read_rows(written(tmp_path, b"a,b\nc,d"), say=said.append) and len(said) == 1


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\nham,two\n"])
def test_a_quote_that_is_never_closed_is_named(tmp_path: Path, end: bytes) -> None:
    with pytest.raises(DataError, match="must close every quote; the quote in line 2 is never closed"):
        read_rows(written(tmp_path, b'ham,zero\nham,"one' + end))


def test_the_messages_of_the_book(data_folder: Path) -> None:
    rows = read_rows(data_folder / "sms_spam_collection.tsv")
    assert len(rows) == 5572
    assert sum(label == "spam" for label, _ in rows) == 747


@pytest.mark.parametrize(
    ("content", "says"),
    [(b'a,"' + b"x" * 200_000, "line 1: .* unclosed quote"), (b"a,\0b", "NUL"), (b"\n\n", "blank")],
)
def test_invalid_rows_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_rows(written(tmp_path, content))


def test_a_delimiter_is_one_character(tmp_path: Path) -> None:
    for delimiter in ("", "::", "\n", '"', 5):
        with pytest.raises(ConfigError, match="delimiter"):
            read_rows(written(tmp_path, b"a"), delimiter)


# JSON ---------------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(json_values, min_size=1, max_size=4), st.booleans())
def test_json_round_trip(tmp_path: Path, values: list, ascii_only: bool) -> None:
    content = json.dumps(values, ensure_ascii=ascii_only).encode()
    assert read_json(written(tmp_path, content)) == values
    lines = "\n".join(json.dumps(value, ensure_ascii=ascii_only) for value in values)
    assert read_jsonl(written(tmp_path, lines.encode() + b"\n\n")) == values


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": 1, "a": 2}', "column 10: key 'a' appears twice"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1e999]", "1e999"),
        ("1" * 5000, "digits"),
        ("[" * 200_000, "nested"),
        ('{"a":' * 200_000, "nested"),
        (r'["\ud800"]', "surrogate"),
        (r'{"\uDC00": 1}', "surrogate"),
        ("[1,", "column 4: is not JSON"),
        ("[1] 2", "Extra data"),
    ],
)
def test_invalid_json_is_refused(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(DataError, match=f"line 1, .*{says}"):
        read_json(written(tmp_path, content.encode()))
    with pytest.raises(DataError, match=f"line 2, .*{says}"):
        read_jsonl(written(tmp_path, b"{}\n" + content.encode()))


def test_json_lines_that_are_all_blank(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="blank"):
        read_jsonl(written(tmp_path, b"\n \n"))
