"""GPT-2's vocabulary, against the book's figures and tiktoken."""

import sys
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import DownloadError, FormatError
from tinygrad_llm.text import GPT2Tokenizer, load_tokenizer

OWN_SPECIAL = {"<|endoftext|>": 50256}


@pytest.fixture(scope="module")
def theirs(data_folder: Path) -> Any:
    """GPT-2's encoding as tiktoken itself builds it from the two files."""
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    ranks = data_gym_to_mergeable_bpe_ranks(
        str(data_folder / "gpt2" / "vocab.bpe"), str(data_folder / "gpt2" / "encoder.json")
    )
    pattern = r"""'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    return tiktoken.Encoding("theirs", pat_str=pattern, mergeable_ranks=ranks, special_tokens=OWN_SPECIAL)


def test_the_vocabulary_is_gpt2s(gpt2: GPT2Tokenizer, theirs: Any) -> None:
    assert gpt2.vocab_size == 50_257
    assert gpt2.end_of_text == 50_256
    assert gpt2.special_tokens == OWN_SPECIAL
    assert gpt2.ranks == theirs._mergeable_ranks


def test_the_books_figures(gpt2: GPT2Tokenizer, data_folder: Path) -> None:
    text = (data_folder / "the-verdict.txt").read_text(encoding="utf-8")
    ids = gpt2.encode(text)
    assert len(ids) == 5_145
    assert ids[50:55] == [290, 4920, 2241, 287, 257]
    ids = gpt2.encode(
        "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace.",
        allowed_special={"<|endoftext|>"},
    )
    assert ids == [
        15496,
        11,
        466,
        345,
        588,
        8887,
        30,
        220,
        50256,
        554,
        262,
        4252,
        18250,
        8812,
        2114,
        1659,
        617,
        34680,
        27271,
        13,
    ]
    assert gpt2.decode(ids) == "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
    assert gpt2.encode("Akwirw ier") == [33901, 86, 343, 86, 220, 959]


@given(text=st.text(max_size=60) | st.text("ab \n'st1é漢🙂", max_size=60))
def test_ids_are_tiktokens(gpt2: GPT2Tokenizer, theirs: Any, text: str) -> None:
    assert gpt2.encode_ordinary(text) == theirs.encode_ordinary(text)
    assert gpt2.decode(gpt2.encode_ordinary(text)) == text


def test_real_texts_have_the_ids_of_the_readable_encoder(gpt2: GPT2Tokenizer, theirs: Any, data_folder: Path) -> None:
    text = (data_folder / "tinyshakespeare.txt").read_text(encoding="utf-8")[:200_000]
    assert gpt2.encode(text) == gpt2.encode_readable(text) == theirs.encode_ordinary(text)


def test_the_vocabulary_is_found_in_the_folder_of_the_variable(
    gpt2: GPT2Tokenizer, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(data_folder))
    assert GPT2Tokenizer().fingerprint() == gpt2.fingerprint()


def test_a_saved_tokenizer_needs_no_vocabulary_files(
    gpt2: GPT2Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpt2.save(tmp_path)
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(tmp_path / "nowhere"))
    loaded = load_tokenizer(tmp_path)
    assert isinstance(loaded, GPT2Tokenizer)
    assert loaded.fingerprint() == gpt2.fingerprint()
    wider = gpt2.with_special_tokens(["<|pad|>"])
    assert isinstance(wider, GPT2Tokenizer)
    assert wider.special_tokens["<|pad|>"] == 50_257


@pytest.fixture
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))


def test_without_files_it_asks_tiktoken(
    nothing_at_hand: Any, monkeypatch: pytest.MonkeyPatch, gpt2: GPT2Tokenizer
) -> None:
    asked = {}

    def stand_in(**files: Any) -> dict[Any, int]:
        asked.update(files)
        return gpt2.ranks

    monkeypatch.setattr("tiktoken.load.data_gym_to_mergeable_bpe_ranks", stand_in)
    assert GPT2Tokenizer().fingerprint() == gpt2.fingerprint()
    assert asked["vocab_bpe_file"].endswith("/gpt-2/encodings/main/vocab.bpe")
    assert asked["encoder_json_hash"].startswith("196139668be63f3b")


def test_offline_the_error_tells_what_to_set(nothing_at_hand: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(**files: Any) -> None:
        raise OSError("the network is unreachable")

    monkeypatch.setattr("tiktoken.load.data_gym_to_mergeable_bpe_ranks", no_network)
    with pytest.raises(DownloadError, match=r"TINYGRAD_LLM_DATA.*the network is unreachable"):
        GPT2Tokenizer()


def test_a_silent_server_is_given_up_at_the_time_limit(nothing_at_hand: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    let_go = threading.Event()
    monkeypatch.setattr("tiktoken.load.data_gym_to_mergeable_bpe_ranks", lambda **files: let_go.wait(60))
    monkeypatch.setattr(sys.modules["tinygrad_llm.text.gpt2"], "DOWNLOAD_TIME_LIMIT", 0.05)
    with pytest.raises(DownloadError, match="no answer within"):
        GPT2Tokenizer()
    let_go.set()


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"encoder\.json"):
        GPT2Tokenizer.from_files(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
