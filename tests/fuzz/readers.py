"""Every reader of files, as a function of one file's bytes, with valid files to start from.

A reader either reads the bytes or raises one of the package's own errors, in a short message, within seconds and
without memory far beyond the size of the file. Anything else is a fault.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf_files import BPE_TOKENIZER, SENTENCEPIECE_TOKENIZER, model_file

import tinygrad_llm
from tinygrad_llm.data import (
    read_instructions,
    read_json,
    read_jsonl,
    read_labelled_texts,
    read_pairs,
    read_preferences,
    read_rows,
    read_text,
)
from tinygrad_llm.data.id_file import IdFile, IdWriter, Progress
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.evaluation import read_task
from tinygrad_llm.formats import (
    MetricsLog,
    newest_whole_snapshot,
    parse_json,
    read_metrics,
    read_safetensors,
    read_sharded_safetensors,
    verify_snapshot,
    write_safetensors,
    write_snapshot,
)
from tinygrad_llm.interop import load_gguf, load_huggingface
from tinygrad_llm.interop.gguf import gguf_conventions
from tinygrad_llm.interop.tokenizer_json import tokenizer_from_json
from tinygrad_llm.interop.vocab_and_merges import read_vocab_and_merges
from tinygrad_llm.interop.wordpiece_files import read_vocab_txt
from tinygrad_llm.models import GPT, Bert, BertConfig, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.text import (
    BPETokenizer,
    CharTokenizer,
    SimpleTokenizerV1,
    WordPieceTokenizer,
    load_tokenizer,
    save_tokenizer,
)
from tinygrad_llm.text.pipeline import PipelineTokenizer
from tinygrad_llm.text.vocabulary_files import (
    read_encoder_and_merges,
    read_tiktoken,
    write_encoder_and_merges,
    write_tiktoken,
)

LONGEST_MESSAGE = 1000  # characters
LONGEST_TIME = 5.0  # seconds of CPU time


@dataclass(frozen=True)
class Reader:
    """Reads `folder` after the bytes were written to `file` in it. The folder holds the other files that it needs."""

    name: str
    folder: Path
    file: str
    read: Callable[[Path], object]
    seeds: tuple[bytes, ...]

    def check(self, data: bytes) -> None:
        """Read these bytes. Raises: AssertionError for a long message or time, and whatever foreign exception came"""
        path = self.folder / self.file
        if path.is_dir():  # a reader may have been told to make a folder of that name
            shutil.rmtree(path)
        path.write_bytes(data)
        started = time.process_time()
        try:
            self.read(self.folder)
        except TinygradLLMError as error:
            assert len(str(error)) <= LONGEST_MESSAGE, f"a message of {len(str(error))} characters"
        seconds = time.process_time() - started
        assert seconds < LONGEST_TIME, f"{seconds:.1f} s for {len(data):,} bytes"


RECORDS = [{"instruction": "Say yes.", "input": "", "output": "yes", "chosen": "yes", "rejected": "no"}]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er", "a"]
QUESTIONS = [{"question": "1 + 1?", "choices": ["2", "3"], "answer": 0}]
METRICS = b'{"step": 1, "train_loss": 2.5}\n{"step": 2, "train_loss": 2.25}\n'


def all_readers(root: Path) -> dict[str, Reader]:
    """The readers by name; the files that they need are written below `root`."""
    made = [*_formats(root), *_tokenizers(root), *_models(root), *_records(root)]
    return {reader.name: reader for reader in made}


def _reader(
    root: Path, name: str, file: str, read: Callable[[Path], object], *seeds: bytes, like: Path | None = None
) -> Reader:
    """A reader with a folder of its own, a copy of `like`, whose file is the first seed."""
    folder = root / "readers" / name
    if like is None:
        folder.mkdir(parents=True)
    else:
        shutil.copytree(like, folder)
        seeds = ((folder / file).read_bytes(), *seeds)
    return Reader(name, folder, file, read, seeds)


def _formats(root: Path) -> list[Reader]:
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, np.int64), "c": np.float16(1)}
    folder = root / "formats"
    folder.mkdir()
    write_safetensors(folder / "x.safetensors", tensors, {"format": "pt"})
    weights = (folder / "x.safetensors").read_bytes()
    write_snapshot(folder, "step-1", {"a.bin": b"1234", "b.json": b"{}"})
    sharded = folder / "sharded"
    sharded.mkdir()
    write_safetensors(sharded / "one.safetensors", {"a": tensors["a"]})
    index = {"metadata": {"total_size": 24}, "weight_map": {"a": "one.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "ids").mkdir()
    ids = IdFile(folder / "ids", "0" * 64, "1" * 64, 3, np.uint16)
    with IdWriter(ids, Progress(), hashlib.sha256()) as writer:
        writer.append("abc", np.arange(3, dtype=np.uint16))
        writer.append("d", np.arange(1, dtype=np.uint16), validation=True)
        writer.record(complete=True)

    def snapshot(folder: Path) -> None:
        newest_whole_snapshot(folder)
        verify_snapshot(folder / "step-1")

    def metrics(folder: Path) -> None:
        read_metrics(folder / "metrics.jsonl")
        MetricsLog(folder / "metrics.jsonl").truncate_after(1)

    def id_file(folder: Path) -> None:
        IdFile.split_of(folder, "0" * 64, "1" * 64)
        IdFile(folder, "0" * 64, "1" * 64, 3, np.uint16).done()

    values = b'{"a": [1, -2.5e3, true, null, "x\\u00e9"], "b": {"c": {}}}'
    return [
        _reader(root, "json", "x.json", lambda folder: parse_json((folder / "x.json").read_bytes(), "x.json"), values),
        _reader(
            root, "safetensors", "x.safetensors", lambda folder: read_safetensors(folder / "x.safetensors"), weights
        ),
        _reader(
            root,
            "safetensors_index",
            "model.safetensors.index.json",
            read_sharded_safetensors,
            like=sharded,
        ),
        _reader(root, "manifest", "step-1/manifest.json", snapshot, like=folder),
        _reader(root, "metrics", "metrics.jsonl", metrics, METRICS, METRICS + b'{"step": 3, "tr'),
        _reader(root, "ids", ids.path.name, id_file, like=ids.folder),
        _reader(root, "ids_manifest", ids.manifest.name, id_file, like=ids.folder),
    ]


def _tokenizers(root: Path) -> list[Reader]:
    bpe = BPETokenizer.train("low lower lowest low low", vocab_size=262)
    wordpiece = WordPieceTokenizer(PIECES)
    folder = root / "tokenizers"
    folder.mkdir()
    write_encoder_and_merges(bpe, folder / "encoder.json", folder / "vocab.bpe")
    write_tiktoken(bpe, folder / "x.tiktoken")
    gpt, bert = root / "gpt2", root / "bert"
    GPT(GPTConfig(262, 8, 4, 1, 1)).save_pretrained(gpt, bpe)
    Bert(BertConfig(wordpiece.vocab_size, 8, 4, 1, 1)).save_pretrained(bert, wordpiece)
    Llama(LlamaConfig(262, 8, 4, 2, 1, 1)).save_pretrained(root / "llama", bpe)
    tokenizers = [CharTokenizer.train("abc"), SimpleTokenizerV1({"a": 0, "b": 1}), bpe, wordpiece]
    own = [save_tokenizer(one, root / f"own{number}").read_bytes() for number, one in enumerate(tokenizers)]
    special = [{"id": number, "content": piece, "special": True} for number, piece in enumerate(PIECES[:5])]
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    }
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    wordpiece_json = {
        "added_tokens": special,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {**model, "max_input_chars_per_word": 100, "vocab": vocabulary},
    }
    recorded = json.loads((Path(__file__).parents[1] / "text" / "pipeline" / "recorded.json").read_text())
    older = root / "older"
    older.mkdir()
    (older / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}')
    (older / "merges.txt").write_text("#version: 0.2\na b\n")
    return [
        _reader(root, "own_tokenizer", "tinygrad_tokenizer.json", load_tokenizer, *own),
        _reader(
            root,
            "tokenizer_json",
            "tokenizer.json",
            lambda folder: _tried(tokenizer_from_json(folder / "tokenizer.json")),
            *(json.dumps(family["definition"]).encode() for family in recorded.values()),
            like=gpt,
        ),
        _reader(
            root,
            "wordpiece_json",
            "tokenizer.json",
            lambda folder: _tried(tokenizer_from_json(folder / "tokenizer.json")),
            json.dumps(wordpiece_json).encode(),
        ),
        _reader(root, "vocab_json", "vocab.json", read_vocab_and_merges, b'{"a": 1, "b": 0, "ab": 2}', like=older),
        _reader(root, "merges_txt", "merges.txt", read_vocab_and_merges, b"#version: 0.2\na b\n", like=older),
        _reader(root, "vocab_txt", "vocab.txt", lambda folder: read_vocab_txt(folder / "vocab.txt"), like=bert),
        _reader(
            root,
            "vocab_bpe",
            "vocab.bpe",
            lambda folder: read_encoder_and_merges(folder / "encoder.json", folder / "vocab.bpe"),
            like=folder,
        ),
        _reader(
            root,
            "encoder_json",
            "encoder.json",
            lambda folder: read_encoder_and_merges(folder / "encoder.json", folder / "vocab.bpe"),
            like=folder,
        ),
        _reader(root, "tiktoken", "x.tiktoken", lambda folder: read_tiktoken(folder / "x.tiktoken"), like=folder),
    ]


def _tried(tokenizer: PipelineTokenizer) -> PipelineTokenizer:
    """The tokenizer, after it has encoded and decoded a text: a damaged stage may fail only then."""
    text = "It's 12 naïve 漢字 🙂\n\n<s>[MASK] x"
    tokenizer.offsets(text)
    tokenizer.decode(tokenizer.encode(text, allowed_special="all"))
    return tokenizer


def _models(root: Path) -> list[Reader]:
    """Hugging Face folders of three architectures (see `_tokenizers`), a run folder, and GGUF files."""
    run = root / "run"
    config = GPTConfig(262, 8, 4, 1, 1)
    save_tokenizer(BPETokenizer.train("low lower lowest low low", vocab_size=262), run)
    write_safetensors(run / "model.safetensors", GPT(config).state_dict())
    (run / "config.json").write_text(json.dumps({"version": 1, "model_type": "gpt", "model": config.to_dict()}))
    readers = [_reader(root, "run_config", "config.json", tinygrad_llm.load, like=run)]
    llama = Llama(LlamaConfig(12, 8, 8, 2, 1, 1))
    readers.append(
        _reader(
            root,
            "gguf",
            "x.gguf",
            lambda folder: (load_gguf(folder / "x.gguf"), gguf_conventions(folder / "x.gguf")),
            model_file(llama, "llama", BPE_TOKENIZER),
            model_file(llama, "llama", SENTENCEPIECE_TOKENIZER),
            model_file(Llama(LlamaConfig(12, 8, 8, 2, 1, 1, qk_norm=True)), "qwen3", BPE_TOKENIZER),
        )
    )
    for model in ("gpt2", "llama", "bert"):
        readers.append(_reader(root, f"{model}_config", "config.json", load_huggingface, like=root / model))
        readers.append(
            _reader(root, f"{model}_tokenizer_config", "tokenizer_config.json", load_huggingface, like=root / model)
        )
    return readers


def _records(root: Path) -> list[Reader]:
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS * 2)

    def of(file: str, *reads: Callable[[Path], Any]) -> Callable[[Path], None]:
        def read(folder: Path) -> None:
            for one in reads:
                try:
                    one(folder / file)
                except TinygradLLMError as error:
                    assert len(str(error)) <= LONGEST_MESSAGE, f"a message of {len(str(error))} characters"

        return read

    labelled = partial(read_labelled_texts, text_column="text", label_column="label")
    csv = b'text,label\n"a, ""b""",ham\n"two\nlines",spam\n'
    records = (read_json, read_instructions, read_preferences, read_task)
    return [
        _reader(root, "csv", "x.csv", of("x.csv", read_text, read_rows, labelled), csv, b"\xff\xfet\0e\0"),
        _reader(
            root,
            "tsv",
            "x.tsv",
            of("x.tsv", read_pairs, read_rows, labelled),
            b"one\tun\ntwo\tdeux\r\n",
            b"text\tlabel\na\tham\n",
        ),
        _reader(
            root,
            "records",
            "x.json",
            of("x.json", *records),
            json.dumps(RECORDS).encode(),
            json.dumps(QUESTIONS).encode(),
        ),
        _reader(root, "record_lines", "x.jsonl", of("x.jsonl", read_jsonl, *records[1:]), lines),
    ]


def memory_folder() -> str | None:
    """Where temporary files need no disk, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
