"""The evaluations before and after a fine-tuning: by as many workers as train."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_base import call, make_base

from tinygrad_llm.train.parallel import mapping

SLOW = (pytest.mark.slow,)
NO_STEP = ["--steps", "1", "--eval-interval", "0", "--warmup-steps", "0", "--batch-size", "4"]
PAIRS = [{"instruction": f"Say {n}", "input": "", "chosen": f"it is {n}", "rejected": "no"} for n in range(20)]
INSTRUCTIONS = ["--records", "40", "--test-records", "20", "--max-new-tokens", "2"]
COMMANDS = {
    "prefer": ["prefer", "train", "--model", "BASE", "--data", "PAIRS"],
    "reward": ["reward", "train", "--model", "BASE", "--data", "PAIRS"],
    "classify": ["classify", "train", "--model", "BASE", "--data", "sentiment", "--texts", "20", "--test-texts", "8"],
    "instruct": ["instruct", "train", "--model", "BASE", *INSTRUCTIONS],
    "reinforce": ["reinforce", "--model", "BASE", "--method", "ppo", *INSTRUCTIONS],
    "bert": ["bert", "train", "--data", "TEXT", "--vocab-size", "300", "--embedding-dim", "16"],
    "translate": ["translate", "train", "--data", "sentences", "--pairs", "120", "--vocab-size", "300"],
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW * (name in ("reinforce", "translate"))) for name in COMMANDS]
)
def test_one_worker_evaluates_in_one_process(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mapping, "SMALLEST_SHARED", 0)
    monkeypatch.setattr(mapping, "usable_cores", lambda: 2)
    monkeypatch.setattr(mapping, "Processes", lambda *_: pytest.fail("more than one process"))
    (tmp_path / "PAIRS").write_text(json.dumps(PAIRS))
    (tmp_path / "TEXT").write_text("a text of several words.\n" * 200)
    paths = {"BASE": make_base(tmp_path / "base"), "PAIRS": tmp_path / "PAIRS", "TEXT": tmp_path / "TEXT"}
    words = [paths.get(word, word) for word in COMMANDS[name]]
    out = tmp_path / "run"
    assert call(capsys, *words, *NO_STEP, "--out", out, "--workers", "1")[::2] == (0, [])
    assert {"before", "after"} <= json.loads((out / "report.json").read_text()).keys()
