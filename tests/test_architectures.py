"""One record per architecture: a toy model that this file registers goes through every command that takes its kind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_base import call
from training_process import TEXT

import tinygrad_llm
from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.architectures import (
    ARCHITECTURES,
    Architecture,
    architecture_of,
    architecture_of_config,
    register,
    taken_by,
)
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.formats import read_json_object, read_safetensors, write_json, write_safetensors
from tinygrad_llm.interop.forms import HuggingFaceForm
from tinygrad_llm.interop.huggingface_tokenizer import write_huggingface_tokenizer
from tinygrad_llm.models import GPT, LanguageModel
from tinygrad_llm.nn import Embedding, FeedForward, LayerNorm, Linear, ModuleList, MultiHeadAttention, TransformerBlock
from tinygrad_llm.settings import Settings, setting
from tinygrad_llm.text import Tokenizer


@dataclass(frozen=True)
class ToyConfig(Settings):
    """A GPT without positions, whose embedding is scaled by a setting of its own."""

    vocab_size: int = setting(300, "tokens in the vocabulary", least=1)
    context_length: int = setting(32, "maximum sequence length, in tokens", least=1)
    embedding_dim: int = setting(16, "embedding size", least=1, multiple_of="num_heads")
    num_heads: int = setting(2, "attention heads per layer", least=1)
    num_layers: int = setting(1, "transformer blocks", least=1)
    embedding_scale: float = setting(1.0, "factor of the embedding", above=0)


class Toy(LanguageModel):
    """Token ids to the logits of each next token. Shapes: ids (B, T) -> (B, T, V)"""

    config_class = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        self.config, width = config, config.embedding_dim
        self.token_embedding = Embedding(config.vocab_size, width)
        self.blocks = ModuleList(
            TransformerBlock(
                MultiHeadAttention(width, config.num_heads, causal=True), FeedForward(width), lambda: LayerNorm(width)
            )
            for _ in range(config.num_layers)
        )
        self.final_norm = LayerNorm(width)
        self.head = Linear(width, config.vocab_size, bias=False)
        self.initialize_as_gpt2()

    def _embed(self, ids: Any, positions: Any) -> Tensor:
        return self.token_embedding(ids) * self.config.embedding_scale


def read_toy(folder: str | os.PathLike[str], dropout: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = read_json_object(Path(folder) / "config.json")
    del settings["model_type"]
    return settings, read_safetensors(Path(folder) / "model.safetensors")


def write_toy(
    folder: str | os.PathLike[str], settings: Mapping[str, Any], state: Mapping[str, Any], tokenizer: Tokenizer | None
) -> None:
    Path(folder).mkdir(exist_ok=True)
    write_safetensors(Path(folder) / "model.safetensors", state)
    if tokenizer is not None:
        write_huggingface_tokenizer(tokenizer, Path(folder), settings["context_length"])
    write_json(Path(folder) / "config.json", {**settings, "model_type": "toy"})


RECORD = Architecture(
    "toy",
    "a toy",
    Toy,
    ToyConfig,
    command="train --architecture toy",
    parameters=lambda config: 2 * config.vocab_size * config.embedding_dim,
    begin=Toy,
    presets={"tiny": {"embedding_dim": 8}},
    huggingface=HuggingFaceForm(("toy",), read_toy, write_toy),
)


@pytest.fixture
def toy() -> Iterator[Architecture]:
    yield register(RECORD)
    del ARCHITECTURES["toy"]


@pytest.fixture
def command(toy: Architecture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line that must succeed, in this process; returns what it printed."""
    (tmp_path / "text.txt").write_text(TEXT)

    def run(*argv: object) -> str:
        code, printed, errors = call(capsys, *argv)
        assert code == 0, errors
        return str(printed)

    return run


def test_a_model_of_ones_own_goes_through_every_command(command: Callable[..., str], tmp_path: Path) -> None:
    run, data = tmp_path / "run", ["--data", tmp_path / "text.txt", "--vocab-size", "270"]
    train = ["train", *data, "--architecture", "toy", "--embedding-scale", "2", "--out", run, "--batch-size", "4"]
    assert "a toy of" in command(*train, "--steps", "8", "--eval-interval", "4", "--stop-at", "4")
    assert "step 8/8" in command("train", "--resume", "--out", run)
    assert json.loads((run / "config.json").read_text())["model_type"] == "toy"
    model, _ = tinygrad_llm.load(run)
    assert type(model) is Toy and model.config.embedding_scale == 2.0
    assert command("generate", "--model", run, "The", "--max-new-tokens", "4", "--seed", "1").startswith("The")
    command("inspect", "--model", run, "--prompt", "The quick", "--out", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert "gradients" in command("doctor", *data, "--architecture", "toy")
    command("doctor", "--model", run)

    command("export", "--model", run, "--out", tmp_path / "exported")
    command("import", "--from", tmp_path / "exported", "--out", tmp_path / "imported")
    again, _ = tinygrad_llm.load(tmp_path / "imported")
    ids = np.array([[3, 1, 4, 1, 5]])
    with no_grad():
        np.testing.assert_array_equal(again(ids).data, model(ids).data)

    rows = "\n".join(f"{word} {n},{word}" for n in range(20) for word in ("fox", "dog"))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}\n")
    classify = ["classify", "train", "--model", run, "--data", tmp_path / "texts.csv", "--out", tmp_path / "classes"]
    command(*classify, "--steps", "4")
    assert "\t" in command("classify", "predict", "--model", tmp_path / "classes", "fox 3")


def test_its_settings_are_flags_and_refused_by_their_names(toy: Architecture, tmp_path: Path, capsys: Any) -> None:
    for argv, message in (
        (["--embedding-scale", "-1"], "--embedding-scale must be a finite number above 0; got -1.0"),
        (["--window", "4"], "--window is no setting of --architecture toy"),
        (["--preset", "micro"], "the presets of a toy are tiny; got 'micro'"),
    ):
        code, _, errors = call(capsys, "train", "--architecture", "toy", *argv, "--out", tmp_path / "run")
        assert (code, len(errors)) == (2, 1) and message in errors[0]
    assert not (tmp_path / "run").exists()


def test_what_is_not_registered_is_refused(toy: Architecture) -> None:
    with pytest.raises(ConfigError, match="must be new in name and class"):
        register(RECORD)
    assert architecture_of(Toy(ToyConfig())) is RECORD and architecture_of_config(ToyConfig()) is RECORD
    with pytest.raises(ConfigError, match="got a LayerNorm"):
        architecture_of(LayerNorm(3))
    with pytest.raises(ConfigError, match="got a int"):
        architecture_of_config(3)
    assert toy in taken_by("generate") and toy not in taken_by("translate")
    assert architecture_of(GPT(ARCHITECTURES["gpt"].config(11, 8, 8, 2, 1))).name == "gpt"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_presets_size_is_estimated_well(name: str) -> None:
    """The estimate leaves out biases and norms, a small share of all but the smallest models."""
    architecture = ARCHITECTURES[name]
    for preset in ("nano", "micro"):
        if preset in architecture.presets:
            config = architecture.config_from(architecture.preset(preset))
            exact = architecture.begin(config).num_parameters()
            assert 0.97 * exact < architecture.parameters(config) <= 1.01 * exact
