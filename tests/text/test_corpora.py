"""The named texts: search order, downloads, and the errors for missing texts."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import DataError, DownloadError
from tinygrad_llm.text import corpora
from tinygrad_llm.text.corpora import CORPORA, NAMES, PublicFile


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """An empty data folder and an empty cache."""
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "data", tmp_path / "cache" / "tinygrad_llm"


@pytest.mark.parametrize("file", [file for files in CORPORA.values() for file in files], ids=lambda file: file.name)
def test_local_files_have_the_listed_size_and_sha256(file: PublicFile, data_folder: Path) -> None:
    content = (data_folder / file.name).read_bytes()
    assert len(content) == file.size
    assert hashlib.sha256(content).hexdigest() == file.sha256


def test_all_names_are_known() -> None:
    assert set(NAMES) == {
        "the-verdict",
        "tinyshakespeare",
        "sms-spam",
        "instructions",
        "preferences",
        "gpt2-vocabulary",
        "python-docs",
        "python-library",
    }


def test_the_environment_variable_precedes_the_cache(folders: tuple[Any, ...]) -> None:
    data, cache = folders
    with pytest.raises(DataError, match="TINYGRAD_LLM_DATA") as caught:
        corpora.find("the-verdict")
    assert "the-verdict.txt" in str(caught.value)
    assert "download('the-verdict')" in str(caught.value)
    cache.mkdir(parents=True)
    (cache / "the-verdict.txt").write_bytes(b"from the cache\r\n")
    assert corpora.find("the-verdict") == cache / "the-verdict.txt"
    assert corpora.load_text("the-verdict") == "from the cache\r\n"
    data.mkdir()
    (data / "the-verdict.txt").write_text("from the data folder")
    assert corpora.load_text("the-verdict") == "from the data folder"


def test_a_corpus_of_two_files_is_their_folder(folders: tuple[Any, ...]) -> None:
    data, _ = folders
    (data / "gpt2").mkdir(parents=True)
    (data / "gpt2" / "encoder.json").write_text("{}")
    with pytest.raises(DataError, match=r"vocab\.bpe"):
        corpora.find("gpt2-vocabulary")
    (data / "gpt2" / "vocab.bpe").write_text("")
    assert corpora.find("gpt2-vocabulary") == data / "gpt2"
    with pytest.raises(DataError, match="a folder of 2 files"):
        corpora.load_text("gpt2-vocabulary")


def test_unknown_names_and_invalid_texts_are_refused(folders: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = folders
    for ask in (corpora.find, corpora.load_text, corpora.download):
        with pytest.raises(DataError, match="tinyshakespeare"):
            ask("war-and-peace")
    data.mkdir()
    (data / "the-verdict.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UTF-8; byte 0"):
        corpora.load_text("the-verdict")
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(data / "the-verdict.txt" / "below"))
    with pytest.raises(DataError):
        corpora.find("the-verdict")


def test_the_cache_needs_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/folder")
    assert corpora.cache_folder().is_absolute()

    def no_home() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", no_home)
    with pytest.raises(DataError, match="XDG_CACHE_HOME"):
        corpora.cache_folder()


@pytest.mark.parametrize("name", ["python-docs", "python-library"])
def test_texts_that_come_with_python_have_no_file(name: str) -> None:
    with pytest.raises(DataError, match="load_text"):
        corpora.find(name)


def archive_of(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_ucis_archive_gives_the_same_file_whatever_its_line_ends(line_end: bytes, data_folder: Path) -> None:
    content = (data_folder / "sms_spam_collection.tsv").read_bytes()
    unpack = CORPORA["sms-spam"][0].unpack
    assert unpack(archive_of("SMSSpamCollection", content.replace(b"\r\n", line_end))) == content


def test_an_invalid_archive_is_refused() -> None:
    unpack = CORPORA["sms-spam"][0].unpack
    good = archive_of("SMSSpamCollection", b"ham\ttext\n" * 50)
    for archive in (b"", b"no zip", archive_of("other", b"x"), good[:-30], good[:40] + b"\0\0\0" + good[43:]):
        with pytest.raises(DownloadError):
            unpack(archive)
    bomb = archive_of("SMSSpamCollection", b"a" * 50_000_000)
    assert len(unpack(bomb)) <= 1_000_000


def test_a_download_is_checked_placed_in_the_cache_and_found(
    folders: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cache = folders
    calls = []

    def stand_in(url: str, path: Path, **expected: Any) -> Path:
        calls.append((url, expected["size"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
        return path

    monkeypatch.setattr("tinygrad_llm.text.corpora.fetch", stand_in)
    assert corpora.download("tinyshakespeare") == cache / "tinyshakespeare.txt" == corpora.find("tinyshakespeare")
    assert corpora.download("gpt2-vocabulary") == cache / "gpt2" == corpora.find("gpt2-vocabulary")
    assert [size for _, size in calls] == [1_115_394, 1_042_301, 456_318]
    assert all(url.startswith("https://") for url, _ in calls)


def test_a_failed_download_leaves_no_file(folders: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    dead = PublicFile("the-verdict.txt", "http://127.0.0.1:9/the-verdict.txt", 20_479, "0" * 64)
    monkeypatch.setitem(CORPORA, "the-verdict", (dead,))
    with pytest.raises(DownloadError, match="check the connection"):
        corpora.download("the-verdict", time_limit=5)
    with pytest.raises(DataError):
        corpora.find("the-verdict")
