"""Models with tokenizers in Hugging Face folders, and adding special tokens to both."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator, interop, manual_seed, no_grad
from tinygrad_llm.errors import CheckpointError, ConfigError, FormatError, MissingPackageError, TokenizerError
from tinygrad_llm.interop import (
    can_compare,
    extend_vocabulary,
    load_huggingface,
    logit_difference,
    save_huggingface,
)
from tinygrad_llm.interop.huggingface_tokenizer import read_huggingface_tokenizer
from tinygrad_llm.models import GPT, Bert, BertConfig, GPTConfig
from tinygrad_llm.text import BPETokenizer, CharTokenizer, SimpleTokenizerV2, WordPieceTokenizer
from tinygrad_llm.text.vocabulary_files import write_encoder_and_merges

TEXT = "to and fro, to and fro, to and fro; "
BPE = BPETokenizer.train(TEXT, 262)


def gpt(vocab_size: int = 262, **changes: Any) -> Any:
    manual_seed(0)
    return GPT(GPTConfig(vocab_size, 9, 8, 2, 1, dropout=0.0, qkv_bias=True, **changes)).eval()


def same_logits(first: Any, second: Any) -> Any:
    ids = np.arange(8)[None]
    with no_grad():
        return np.array_equal(first(ids).data, second(ids).data)


@pytest.mark.parametrize(
    ("tokenizer", "kept_apart"),
    [
        (BPE, False),
        (CharTokenizer.train(TEXT), True),
        (SimpleTokenizerV2.train(TEXT), True),
        (BPETokenizer({bytes([byte]): byte for byte in range(256)} | {b"abc": 256}), True),
    ],
    ids=["bpe", "char", "words", "bpe-without-merges"],
)
def test_round_trip(tmp_path: Path, tokenizer: Any, kept_apart: Any) -> None:
    model = gpt()
    missing = save_huggingface(tmp_path / "there", model, tokenizer)
    files = set(os.listdir(tmp_path / "there"))
    if kept_apart:
        assert files == {"config.json", "model.safetensors", "tinygrad_tokenizer.json"}
        assert "tinygrad_tokenizer.json" in missing
    else:
        assert files == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
        assert missing is None
    back, read = load_huggingface(tmp_path / "there")
    assert same_logits(back, model)
    assert read.encode("to and fro") == tokenizer.encode("to and fro")
    assert read.special_tokens == tokenizer.special_tokens


def test_the_older_pair_of_files_is_read(tmp_path: Path) -> None:
    gpt().save_pretrained(tmp_path)
    with pytest.raises(FormatError, match="must hold a tokenizer"):
        load_huggingface(tmp_path)
    write_encoder_and_merges(BPE, tmp_path / "vocab.json", tmp_path / "merges.txt")
    read = read_huggingface_tokenizer(tmp_path)
    assert read.encode("to and fro<|endoftext|>", "all") == BPE.encode("to and fro<|endoftext|>", "all")
    assert read.special_tokens == BPE.special_tokens
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FormatError, match=r"merges\.txt"):
        load_huggingface(tmp_path)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path: Path) -> None:
    gpt(100).save_pretrained(tmp_path)
    BPE.save(tmp_path)
    with pytest.raises(FormatError, match="vocab_size is 100, and the tokenizer has 262"):
        load_huggingface(tmp_path)


def test_only_a_new_or_empty_folder_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save_huggingface(tmp_path / "empty", gpt(), BPE)
    (tmp_path / "file").touch()
    for name in ("empty", "file", "file/below", "null\0byte"):
        with pytest.raises(CheckpointError):
            save_huggingface(tmp_path / name, gpt(), BPE)


# -- more special tokens


@pytest.mark.parametrize("tie_weights", [True, False])
def test_model_and_tokenizer_grow_together(tmp_path: Path, tie_weights: bool) -> None:
    model, names = gpt(tie_weights=tie_weights), ["<|user|>", "<|assistant|>"]
    extended = extend_vocabulary(model, BPE, names, Generator(0))
    assert extended.encode("<|user|>to", "all") == [262, *BPE.encode("to")]
    assert model.config.vocab_size == extended.vocab_size == 264
    assert same_logits(extend_and_cut(model), gpt(tie_weights=tie_weights))
    save_huggingface(tmp_path / "there", model, extended)
    back, read = load_huggingface(tmp_path / "there")
    assert back.config.vocab_size == 264 and read.special_tokens == extended.special_tokens
    with pytest.raises(TokenizerError, match="must be new"):
        extend_vocabulary(model, extended, names)
    assert model.config.vocab_size == 264


def extend_and_cut(model: Any) -> Any:
    """A copy with the first 262 rows."""
    state = {name: a[:262] if a.shape[:1] == (264,) else a for name, a in model.state_dict().items()}
    copy = gpt(tie_weights=model.config.tie_weights)
    copy.load_state_dict(state)
    return copy


def test_spare_rows_are_used_first() -> None:
    model = gpt(300)
    extend_vocabulary(model, BPE, ["<|user|>"])
    assert model.config.vocab_size == 300
    with pytest.raises(ConfigError, match="262 tokens; it has 5"):
        extend_vocabulary(gpt(5), BPE, ["<|user|>"])


# -- parity


def test_the_difference_to_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = gpt().train()
    save_huggingface(tmp_path / "there", model, BPE)
    assert logit_difference(model, tmp_path / "there") < 1e-5
    assert model.training
    model.final_norm.weight.data *= 1.01
    assert logit_difference(model, tmp_path / "there") > 1e-5


@pytest.mark.parametrize("head", [True, False])
def test_a_float64_bert_agrees_with_transformers(head: Any, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    manual_seed(0)
    model = Bert(BertConfig(7, 9, 8, 2, 2, masked_word_head=head, pooler=not head)).to(np.float64).eval()
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "to", "##o"])
    assert save_huggingface(tmp_path / "there", model, tokenizer) is None
    assert logit_difference(model, tmp_path / "there") < 1e-10
    back, read = load_huggingface(tmp_path / "there")
    assert isinstance(back, Bert) and read.encode("Too") == [5, 6]
    assert logit_difference(back, tmp_path / "there") < 1e-10


def test_without_transformers_nothing_is_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules[interop.parity.__name__].importlib.util, "find_spec", lambda name: None)
    assert not can_compare()
    with pytest.raises(MissingPackageError, match="pip install torch transformers"):
        logit_difference(gpt(), tmp_path)
