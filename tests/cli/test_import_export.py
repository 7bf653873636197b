"""The commands import and export: a run to a Hugging Face folder and back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_llm
from tinygrad_llm import manual_seed
from tinygrad_llm.cli import main
from tinygrad_llm.interop import can_compare, save_huggingface
from tinygrad_llm.models import GPT, OPT, Bert, BertConfig, GPTConfig, Llama, LlamaConfig, OPTConfig
from tinygrad_llm.text import BPETokenizer, WordPieceTokenizer
from tinygrad_llm.train import load

TOKENIZER = BPETokenizer.train("to and fro, to and fro, to and fro; ", 262)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    manual_seed(0)
    model = GPT(GPTConfig(262, 9, 8, 2, 1, dropout=0.0, qkv_bias=True, tie_weights=True))
    save_huggingface(tmp_path / "theirs", model, TOKENIZER)
    return tmp_path / "theirs"


def error_of(capsys: pytest.CaptureFixture[str], *argv: Any) -> tuple[Any, ...]:
    code = main([str(part) for part in argv])
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return code, lines[0]


def test_import_then_export_gives_the_same_files(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(["import", "--from", str(theirs), "--out", str(run)]) == 0
    assert "with 262 tokens" in capsys.readouterr().out
    model, tokenizer = tinygrad_llm.load(run)
    assert tokenizer.encode("to and fro") == TOKENIZER.encode("to and fro")
    assert not model.training and model.config.tie_weights
    assert main(["export", "--model", str(run), "--out", str(out)]) == 0
    *_, parity = capsys.readouterr().out.strip().splitlines()
    if can_compare():
        assert "the largest difference to transformers' logits" in parity
        assert float(parity.split()[1]) < 1e-5
    else:
        assert "not checked" in parity
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (out / file).read_bytes() == (theirs / file).read_bytes()
    assert main(["generate", "--model", str(run), "--prompt", "to", "--max-new-tokens", "3"]) == 0
    assert capsys.readouterr().out.startswith("to")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Llama(LlamaConfig(262, 16, 8, 2, 1, num_kv_heads=1, feed_forward_dim=24, qk_norm=True)), "a Llama"),
        (lambda: OPT(OPTConfig(262, 16, 8, 2, 1, feed_forward_dim=24)), "an OPT"),
    ],
)
def test_another_model_is_imported_exported_and_writes(
    make: Callable[[], Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manual_seed(0)
    model = make()
    save_huggingface(tmp_path / "theirs", model, TOKENIZER)
    assert main(["import", "--from", str(tmp_path / "theirs"), "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith(f"{words} of")
    read, _ = tinygrad_llm.load(tmp_path / "run")
    assert type(read) is type(model) and read.config == model.config
    assert main(["export", "--model", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes()
    capsys.readouterr()
    assert main(["generate", "--model", str(tmp_path / "run"), "--prompt", "to", "--max-new-tokens", "30"]) == 0
    assert capsys.readouterr().out.startswith("to")


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "."]


def some_bert(**changes: Any) -> Bert:
    manual_seed(0)
    return Bert(BertConfig(len(PIECES), 9, 8, 2, 1, dropout=0.0, **changes))


@pytest.mark.parametrize("pooler", [True, False])
def test_a_bert_is_imported_fills_in_and_is_exported(
    pooler: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_huggingface(tmp_path / "theirs", some_bert(pooler=pooler), WordPieceTokenizer(PIECES))
    assert main(["import", "--from", str(tmp_path / "theirs"), "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith("a BERT of") and load(tmp_path / "run")[0].config.pooler is pooler
    assert main(["bert", "fill", "--model", str(tmp_path / "run"), "The [MASK] sat."]) == 0
    filled, guesses = capsys.readouterr().out.splitlines()
    assert filled.startswith("the") and filled.endswith("sat.") and "'s'" in guesses and "' cat'" in guesses
    assert main(["export", "--model", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    *_, parity = capsys.readouterr().out.strip().splitlines()
    assert float(parity.split()[1]) < 1e-5 if can_compare() else "not checked" in parity
    for file in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "vocab.txt").unlink(), "must hold a tokenizer"),
        (lambda folder: (folder / "vocab.txt").write_text("[UNK]\n" * 2), "the one with id 1 is '[UNK]' again"),
        (lambda folder: (folder / "vocab.txt").write_text("\n".join([*PIECES, "x"])), "the tokenizer has 11 tokens"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
        (lambda folder: rewrite(folder, model_type="roberta"), "got 'roberta'"),
        (lambda folder: rewrite(folder, vocab_size=30522), "must be (30522, 8)"),
        (lambda folder: rewrite(folder, hidden_act="relu"), "hidden_act must be one of gelu"),
    ],
    ids=["no-vocabulary", "no-good-vocabulary", "longer-vocabulary", "no-weights", "roberta", "other-size", "relu"],
)
def test_a_bert_that_does_not_fit_is_one_line(
    change: Callable[..., Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_huggingface(tmp_path / "theirs", some_bert(), WordPieceTokenizer(PIECES))
    change(tmp_path / "theirs")
    code, line = error_of(capsys, "import", "--from", tmp_path / "theirs", "--out", tmp_path / "run")
    assert code == 1 and message in line and not (tmp_path / "run").exists()


def rewrite(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_bert_without_a_head_cannot_fill_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_huggingface(tmp_path / "theirs", some_bert(masked_word_head=False, pooler=True), WordPieceTokenizer(PIECES))
    assert main(["import", "--from", str(tmp_path / "theirs"), "--out", str(tmp_path / "run")]) == 0
    code, line = error_of(capsys, "bert", "fill", "--model", tmp_path / "run", "[MASK]")
    assert code == 2 and "no masked-word head" in line
    assert main(["export", "--model", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0


def test_what_transformers_saves_is_imported_and_fills_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
        initializer_range=0.3,
    )
    theirs = transformers.BertForMaskedLM(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    tokenizer = transformers.BertTokenizer.from_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path / "theirs")
    assert main(["import", "--from", str(tmp_path / "theirs"), "--out", str(tmp_path / "run")]) == 0
    text = "The [MASK]s sat."
    with torch.no_grad():
        shares = theirs(**tokenizer(text, return_tensors="pt")).logits[0, 2].softmax(-1)[5:]
    capsys.readouterr()
    assert main(["bert", "fill", "--model", str(tmp_path / "run"), "--top-k", "1", text]) == 0
    _, guess = capsys.readouterr().out.splitlines()
    _, word, probability = guess.split("'")
    assert word.strip() == PIECES[5 + int(shares.argmax())].removeprefix("##")
    assert abs(float(probability) - float(shares.max())) < 6e-4


def test_a_model_of_64_bits_is_rounded_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_huggingface(tmp_path / "wide", GPT(GPTConfig(262, 9, 8, 2, 1)).to(np.float64), TOKENIZER)
    assert main(["import", "--from", str(tmp_path / "wide"), "--out", str(tmp_path / "run")]) == 0
    assert "rounded to float32" in capsys.readouterr().out
    assert tinygrad_llm.load(tmp_path / "run")[0].head.weight.dtype == np.float32


def test_mistakes_are_one_line(theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = error_of(capsys, "import", "--from", tmp_path / "none", "--out", tmp_path / "run")
    assert code == 1 and "none" in line
    config = json.loads((theirs / "config.json").read_text())
    (theirs / "config.json").write_text(json.dumps(config | {"attn_pdrop": 0.1}))
    code, line = error_of(capsys, "import", "--from", theirs, "--out", tmp_path / "run")
    assert code == 1 and "attn_pdrop" in line
    assert not (tmp_path / "run").exists()
    assert main(["import", "--from", str(theirs), "--out", str(tmp_path / "run"), "--dropout", "0.2"]) == 0
    assert tinygrad_llm.load(tmp_path / "run")[0].config.dropout == 0.2
    code, line = error_of(capsys, "import", "--from", theirs, "--out", tmp_path / "run", "--dropout", "0.2")
    assert code == 2 and "already holds a run" in line
    code, line = error_of(capsys, "export", "--model", tmp_path / "run", "--out", tmp_path / "run")
    assert code == 1 and "new or empty" in line
    code, line = error_of(capsys, "train", "--resume", "--out", tmp_path / "run")
    assert code == 2 and "imported" in line


def test_an_error_of_the_system_is_told_in_words(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "--from", str(theirs), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    (tmp_path / "file").write_text("")
    _, line = error_of(capsys, "export", "--model", str(tmp_path / "run"), "--out", str(tmp_path / "file" / "out"))
    assert "Not a directory" in line and "Errno" not in line
