"""`reward` and `reinforce`: agreement on held-out pairs; a run that stops in the middle of a round; refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_base import call, make_base

from tinygrad_llm.formats import read_safetensors
from tinygrad_llm.runs import load

SHORT = ["--warmup-steps", "1", "--eval-interval", "4"]
ROUND = ["--questions", "4", "--group-size", "4", "--batch-size", "8", "--passes", "2", "--max-new-tokens", "6"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base", dropout=0.0)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "records.json"
    path.write_text(json.dumps([{"instruction": f"Say {n}.", "output": f"It is {n}."} for n in range(40)]))
    return path


@pytest.fixture(scope="module")
def reward_run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model that prefers answers in small letters."""
    pairs, out = tmp_path_factory.mktemp("pairs") / "pairs.json", tmp_path_factory.mktemp("rewards") / "run"
    made = [{"instruction": f"Say {n}.", "chosen": f"it is {n}", "rejected": f"IT IS {n}"} for n in range(60)]
    pairs.write_text(json.dumps(made))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pairs.parent)
        from tinygrad_llm.cli import main

        argv = ["reward", "train", "--model", base, "--data", pairs, "--out", out, "--steps", "30", *SHORT]
        assert main([str(word) for word in [*argv, "--learning-rate", "0.01", "--batch-size", "16"]]) == 0
    return out


def test_a_reward_model_agrees_with_the_held_out_pairs(
    reward_run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = json.loads((reward_run / "report.json").read_text())
    assert report["before"]["test"]["agreement"] == 0 and report["after"]["test"]["agreement"] == 1
    model, _ = load(reward_run)
    assert type(model).__name__ == "RewardModel"
    code, printed, errors = call(
        capsys, "reward", "score", "--model", reward_run, "Say 99.", "IT IS 99", "it is 99", "it is 98"
    )
    scores = [float(line.split("\t")[0]) for line in printed.splitlines()]
    assert (code, errors) == (0, []) and scores == sorted(scores, reverse=True)
    assert printed.splitlines()[-1].endswith("\tIT IS 99")


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_stopped_in_the_middle_of_a_round_the_weights_are_the_same_to_the_bit(
    method: str, base: Path, records: Path, reward_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, stops in ((tmp_path / "whole", ()), (tmp_path / "parts", (3, 5))):
        argv = ["reinforce", "--method", method, "--model", base, "--data", records, "--reward-model", reward_run]
        argv += ["--out", out, "--steps", "10", "--learning-rate", "0.003", *ROUND, *SHORT]
        for stop in stops:
            assert call(capsys, *argv, "--stop-at", stop)[0] == 0
            argv = ["reinforce", "--resume", "--out", out]
        code, printed, errors = call(capsys, *argv)
        assert (code, errors) == (0, []) and "reward" in printed and "instruct evaluate --model" in printed
    whole, parts = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and not any("value_head" in name for name in whole)
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    log, parted = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts"))
    figures = [json.loads(line) for line in log]
    for record, other in zip(figures, map(json.loads, parted), strict=True):
        assert all(record[name] == other[name] for name in ("train_loss", "reward", "kl", "answer_length", "ended"))
    assert ("skipped_groups" in figures[0]) == (method == "grpo")
    assert figures[0]["kl"] == 0 and figures[-1]["kl"] != 0


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_two_workers_take_the_same_steps_but_for_rounding(
    method: str, base: Path, records: Path, reward_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for workers in (1, 2):
        argv = ["reinforce", "--method", method, "--model", base, "--data", records, "--reward-model", reward_run]
        argv += ["--out", tmp_path / str(workers), "--steps", "3", "--workers", workers, *ROUND, *SHORT]
        code, printed, _ = call(capsys, *argv)
        assert code == 0 and ("2 workers share each batch of " in printed) == (workers == 2)
    one, two = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("1", "2"))
    for name, weights in one.items():
        np.testing.assert_allclose(two[name], weights, rtol=1e-4, atol=2e-6, err_msg=name)


def test_misfitting_options_are_one_line_of_error(
    base: Path, records: Path, reward_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = ["reinforce", "--model", base, "--data", records, "--out", tmp_path / "new", "--max-new-tokens", "4"]
    for argv, said in (
        (["reinforce", "--out", tmp_path / "new"], "--model must name"),
        ([*new, "--group-size", "1"], "--group-size must be at least 2 with GRPO"),
        ([*new, "--method", "dpo"], "--method"),
        ([*new, "--reward-model", base], "--reward-model must be a reward model"),
        ([*new, "--reward-model", tmp_path / "none"], "none"),
        ([*new, "--beta", "-1"], "--beta must be"),
        (["reward", "train", "--model", reward_run, "--out", tmp_path / "new"], "holds a reward model"),
        (["reward", "score", "--model", base, "x", "y"], "--model must be a reward model"),
        (
            ["reinforce", "--model", base, "--out", tmp_path / "new", "--records", "9999999"],
            "--records must be at most",
        ),
        (
            ["reward", "train", "--model", base, "--out", tmp_path / "new", "--records", "9999999"],
            "--records must be at",
        ),
    ):
        code, _, errors = call(capsys, *argv)
        assert code in (1, 2) and said in errors[-1], (said, code, errors)
