"""`train --architecture llama`: the same run with other blocks, from flags to text."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_base import call, save_base
from training_process import TINY_RUN

from tinygrad_llm import manual_seed
from tinygrad_llm.formats import read_safetensors
from tinygrad_llm.models import Llama, LlamaConfig
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import load

SMALL = [
    "--tokenizer",
    "char",
    *TINY_RUN,
    "--steps",
    "8",
    "--warmup-steps",
    "2",
    "--eval-interval",
    "4",
    "--learning-rate",
    "0.01",
]


@pytest.fixture
def train(tmp_path: Path) -> list[Any]:
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog, again and again.\n" * 40)
    return ["train", "--architecture", "llama", "--data", text, *SMALL]


def test_a_llama_trains_stops_resumes_and_writes(
    train: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--num-kv-heads", "1", "--window", "4", "--num-experts", "4", "--qk-norm", "--dropout", "0.1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code, printed, errors = call(capsys, *train, *options, "--out", whole)
    assert (code, errors) == (0, []) and "a Llama of" in printed
    model, _ = load(whole)
    assert isinstance(model, Llama) and (model.config.window, model.config.num_experts) == (4, 4)
    assert model.config.tie_weights and model.config.qk_norm and model.head.weight is model.token_embedding.weight
    losses = [json.loads(line)["train_loss"] for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    assert call(capsys, *train, *options, "--out", parts, "--stop-at", "4")[0] == 0
    assert call(capsys, "train", "--resume", "--architecture", "llama", "--window", "4", "--out", parts)[0] == 0
    first, second = (read_safetensors(out / "model.safetensors") for out in (whole, parts))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    code, printed, _ = call(capsys, "generate", "--model", whole, "--prompt", "The ", "--max-new-tokens", "30")
    assert code == 0 and printed.startswith("The ")


def test_layers_that_differ_are_flags(train: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--window", "4", "--full-attention-layers", "1", "--num-experts", "2", "--dense-layers", "0"]
    options += ["--norm-place", "both", "--attention-softcap", "9", "--logit-softcap", "20", "--no-normalize-gates"]
    code, _, errors = call(capsys, *train, *options, "--num-layers", "2", "--out", tmp_path / "run")
    assert (code, errors) == (0, [])
    config = load(tmp_path / "run")[0].config
    assert (config.full_attention_layers, config.dense_layers, config.normalize_gates) == ((1,), (0,), False)
    code, printed, _ = call(capsys, "show", tmp_path / "run", "--config")
    assert code == 0 and 'full_attention_layers = "1"\n' in printed and 'dense_layers = "0"\n' in printed
    (tmp_path / "run.toml").write_text(printed)
    assert call(capsys, "train", "--config", tmp_path / "run.toml", "--out", tmp_path / "again")[0] == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "again")]
    assert weights[0] == weights[1]
    with pytest.raises(SystemExit):
        call(capsys, *train, "--full-attention-layers", "one")
    assert "--full-attention-layers must be whole numbers such as 1,3; got 'one'" in capsys.readouterr().err


@pytest.mark.slow
def test_windows_and_states_by_layer(train: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = ["--num-layers", "4", "--window", "4", "--window-pattern", "1:1"]
    for name, options in (("gpt", []), ("llama", ["--delta-net-pattern", "3:1", "--attention-gate"])):
        code, _, errors = call(capsys, *train, "--architecture", name, *layers, *options, "--out", tmp_path / name)
        assert (code, errors) == (0, [])
        model: Any = load(tmp_path / name)[0]
        kinds = [(type(block.attention).__name__, getattr(block.attention, "window", None)) for block in model.blocks]
        windows = [("MultiHeadAttention", window) for window in (4, None, 4, None)]
        assert kinds == (windows if name == "gpt" else [("GatedDeltaNet", None)] * 3 + [("GatedAttention", None)])
        words = ["--model", tmp_path / name, "--prompt", "The "]
        assert call(capsys, "generate", *words, "--max-new-tokens", "30")[1].startswith("The ")
        assert call(capsys, "inspect", *words, "--out", tmp_path / "page.html")[0] == 0
        code, _, errors = call(capsys, "export", "--model", tmp_path / name, "--out", tmp_path / "folder")
        assert code and ("GPT-2 has no sliding window" if name == "gpt" else "no Hugging Face model has") in errors[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gelu", "none"], "--gelu is no setting of --architecture llama"),
        (["--architecture", "opt", "--window", "4"], "--window is no setting of --architecture opt"),
        (["--window", "4", "--window-pattern", "5:1"], "--window-pattern must fit into --num-layers; got 6 layers and"),
        (["--window-pattern", "1:1"], "--window-pattern needs --window; got 1:1 without it"),
        (["--delta-net-pattern", "3"], "--delta-net-pattern must be two numbers of layers, such as 5:1; got '3'"),
        (["--num-kv-heads", "3"], "--num-heads must be a multiple of --num-kv-heads; got 2 and 3"),
        (["--head-dim", "7"], "--head-dim must be even, since rotary positions rotate pairs of features; got 7"),
        (["--rope-base", "-1"], "--rope-base must be a finite number above 0"),
        (["--window", "0"], "--window must be an integer of at least 1"),
        (["--num-experts", "1000000000"], "GB of memory to be trained"),
        (["--activation", "relu"], "--activation must be one of silu"),
        (["--full-attention-layers", "0"], "--full-attention-layers needs --window"),
        (
            ["--window", "4", "--full-attention-layers", "0,9"],
            "--full-attention-layers must be numbers of layers, below",
        ),
    ],
)
def test_misuse_is_one_line(
    train: list[Any], options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = call(capsys, *train, *options, "--out", tmp_path / "out")
    assert (code, len(errors)) == (2, 1) and message in errors[0], errors
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_run_keeps_its_architecture(train: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, *train, "--out", tmp_path / "run", "--stop-at", "1")[0] == 0
    code, _, errors = call(capsys, "train", "--resume", "--architecture", "gpt", "--out", tmp_path / "run")
    assert (code, len(errors)) == (2, 1) and "--architecture was llama, got gpt" in errors[0]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    code, _, errors = call(capsys, "train", "--resume", "--out", tmp_path / "run")
    assert (code, len(errors)) == (1, 1) and errors[0].endswith("; got bert")


def test_a_llama_is_taught_asked_and_evaluated_like_a_gpt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manual_seed(3)
    config = LlamaConfig(257, 192, 16, 2, 1, num_kv_heads=1, window=8)
    base = save_base(tmp_path / "base", "llama", Llama(config), BPETokenizer.train("", vocab_size=257))
    steps = ["--style", "phi3", "--steps", "4", "--eval-interval", "2", "--warmup-steps", "1"]
    tasks = ["--kinds", "first_word", "--records", "30", "--test-records", "2", "--max-new-tokens", "4"]
    for rank in ("0", "2"):
        out = tmp_path / f"instruct{rank}"
        code, _, errors = call(
            capsys, "instruct", "train", "--model", base, "--out", out, *steps, *tasks, "--lora-rank", rank
        )
        assert (code, errors) == (0, []) and type(load(out)[0]) is Llama
    assert call(capsys, "instruct", "generate", "--model", out, "--max-new-tokens", "4", "Which word?")[0] == 0
    pairs = [{"instruction": f"Say {n}.", "chosen": f"It is {n}.", "rejected": f"{n}! GO!"} for n in range(40)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    preferred = tmp_path / "preferred"
    code, printed, errors = call(
        capsys, "prefer", "train", "--model", base, "--data", tmp_path / "pairs.json", "--out", preferred, *steps
    )
    assert (code, errors) == (0, []) and "reward margin +0.000 ->" in printed
    assert load(preferred)[0].config == config
