"""Completion: every command and flag is in the scripts, and bash completes with its own."""

import subprocess

import pytest

from tinygrad_llm.cli import COMMANDS, main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS) and "learning-rate" in script and "tinygrad-llm" in script


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (["trai"], {"train"}),
        (["classify", ""], {"train", "predict", "--debug", "--help"}),
        (["classify", "predict", "--mo"], {"--model"}),
        (["train", "--tokenizer", ""], {"char", "bpe", "gpt2", "words"}),
        (["train", "--steps", "3", "--warm"], {"--warmup-steps"}),
        (["train", "--data", ""], set()),  # the shell completes a file
    ],
)
def test_bash_completes(line: list[str], found: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    script += f"COMP_WORDS=(tinygrad-llm {' '.join(word or repr(word) for word in line)})\n"
    script += f'COMP_CWORD={len(line)}\n_tinygrad_llm\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == found
