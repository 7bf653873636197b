"""Models in GGUF files, opened with their tokenizers."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import BPE_TOKENIZER, SENTENCEPIECE_TOKENIZER, gguf_bytes, model_file, model_metadata, model_tensors
from interop.test_gguf_settings import tiny

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats.gguf_blocks import LAYOUTS, dequantize, weights_per_block
from tinygrad_llm.generate import generate
from tinygrad_llm.interop import load_gguf
from tinygrad_llm.interop.gguf import is_gguf
from tinygrad_llm.models import GPT, Llama


@pytest.mark.parametrize("tokenizer", [BPE_TOKENIZER, SENTENCEPIECE_TOKENIZER], ids=["gpt2", "llama"])
def test_model_and_tokenizer(tokenizer: dict[str, Any], tmp_path: Path) -> None:
    model = tiny(vocab_size=16)  # rows beyond the tokens are allowed
    path = tmp_path / "x.gguf"
    path.write_bytes(model_file(model, "llama", tokenizer))
    back, words = load_gguf(path)
    ids = words.encode("ab a")
    assert words.decode(ids) == "ab a"
    assert np.array_equal(generate(back, ids, 5, temperature=0), generate(model, ids, 5, temperature=0))


def test_from_pretrained_needs_no_tokenizer(tmp_path: Path) -> None:
    model, path = tiny(), tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes(model_metadata(model, "llama"), model_tensors(model, "llama")))
    back = Llama.from_pretrained(path, dropout=0.25)
    assert (back.config.dropout, back.training) == (0.25, False)
    assert np.array_equal(back(np.arange(5)).data, model(np.arange(5)).data)
    with pytest.raises(FormatError, match=r"tokenizer.ggml.model must be a string; got None"):
        load_gguf(path)
    with pytest.raises(FormatError, match="not a GPT"):
        GPT.from_pretrained(path)


def test_more_tokens_than_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(model_file(tiny(vocab_size=9), "llama"))
    with pytest.raises(FormatError, match=r"x\.gguf: the model must have a row for each token; its vocab_size is 9"):
        load_gguf(path)


@pytest.mark.parametrize("kind", list(LAYOUTS))
def test_weights_of_every_type(kind: str, tmp_path: Path) -> None:
    """Every matrix in blocks; the model has their weights, the rows of queries and keys in order."""
    model = tiny(embedding_dim=256, feed_forward_dim=256, num_heads=2, num_kv_heads=2, num_layers=1)
    rng, layout = np.random.default_rng(0), np.dtype(LAYOUTS[kind])
    tensors: dict[str, Any] = {}
    for name, array in model_tensors(model, "llama").items():
        tensors[name] = array
        if array.ndim == 2:
            blocks = np.zeros(array.size // weights_per_block(kind), layout)
            raw = blocks.view(np.uint8)
            raw[:] = rng.integers(0, 64, raw.shape)  # small halves and floats
            tensors[name] = (array.shape, blocks.tobytes())
    kinds = {name: kind for name, tensor in tensors.items() if isinstance(tensor, tuple)}
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes({**model_metadata(model, "llama"), **BPE_TOKENIZER}, tensors, kinds=kinds))
    back, _ = load_gguf(path)

    def stored(name: str) -> Any:
        shape, data = tensors[name]
        return dequantize(np.frombuffer(data, layout), kind).reshape(shape)

    block = back.blocks[0]
    assert np.array_equal(back.token_embedding.weight.data, stored("token_embd.weight"))
    assert np.array_equal(block.feed_forward.down.weight.data, stored("blk.0.ffn_down.weight"))
    query = stored("blk.0.attn_q.weight")
    expected = np.concatenate([part for head in np.split(query, 2) for part in (head[::2], head[1::2])])
    assert np.array_equal(block.attention.query.weight.data, expected)


def test_opening_holds_the_weights_once(tmp_path: Path) -> None:
    model = tiny(vocab_size=2048, embedding_dim=128, feed_forward_dim=256, num_layers=3)
    tensors: dict[str, Any] = model_tensors(model, "llama")
    halves = {name: (array.shape, array.astype("<f2").tobytes()) for name, array in tensors.items()}
    path = tmp_path / "x.gguf"
    metadata = {**model_metadata(model, "llama"), **BPE_TOKENIZER}
    path.write_bytes(gguf_bytes(metadata, halves, kinds=dict.fromkeys(halves, "F16")))
    load_gguf(path)  # what is imported on first use
    tracemalloc.start()
    back, _ = load_gguf(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * 4 * back.num_parameters() + 200_000


def test_what_is_a_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(gguf_bytes({}))
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "short").write_bytes(b"GG")
    assert is_gguf(path)
    assert is_gguf(tmp_path / "none.GGUF")
    assert not is_gguf(tmp_path / "folder.gguf")
    assert not is_gguf(tmp_path / "short")
    assert not is_gguf(tmp_path)
    assert not is_gguf(tmp_path / "none")
    assert not is_gguf("a\0b")
