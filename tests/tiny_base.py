"""Run folders with tiny untrained models, from which tests of the fine-tuning commands start."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.cli import main
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import BPETokenizer, Tokenizer
from tinygrad_llm.train import RunFolder, Trainer, TrainingSettings


class NoBatches:
    def state(self) -> dict[str, Any]:
        return {}


def tiny_model(context_length: int = 128, dropout: float = 0.1) -> tuple[GPT, BPETokenizer]:
    """An untrained model, and a tokenizer of the 256 bytes and <|endoftext|>."""
    tokenizer = BPETokenizer.train("", vocab_size=257)
    manual_seed(3)
    config = GPTConfig(
        tokenizer.vocab_size, context_length, embedding_dim=16, num_heads=2, num_layers=2, dropout=dropout
    )
    return GPT(config), tokenizer


def make_base(folder: Path, context_length: int = 128, dropout: float = 0.1) -> Path:
    """Write the folder as `tinygrad-llm train` does."""
    return save_base(folder, "gpt", *tiny_model(context_length, dropout))


def save_base(folder: Path, model_type: str, model: Any, tokenizer: Tokenizer) -> Path:
    run = RunFolder.create(folder)
    with run:
        run.begin({"model_type": model_type, "model": model.config.to_dict()}, tokenizer)
        run.save(Trainer(model, NoBatches(), TrainingSettings()))
    return folder


def call(capsys: pytest.CaptureFixture[str], *argv: Any) -> tuple[Any, ...]:
    """Run the command line in this process; returns its exit code, what it printed, and its lines on stderr."""
    capsys.readouterr()
    code = main([str(part) for part in argv])
    printed = capsys.readouterr()
    return code, printed.out, printed.err.splitlines()


def printed_by(*argv: Any) -> str:
    """What a command prints, which must succeed: for fixtures of a whole file, which have no `capsys`."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(part) for part in argv]) == 0
    return printed.getvalue()
