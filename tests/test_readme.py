"""The README keeps its word: its links lead somewhere, its commands exist, its Python runs."""

import re
from pathlib import Path

import pytest

from tinygrad_llm.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()] == []


def test_commands_exist() -> None:
    named = set(re.findall(r"tinygrad-llm (?:\[.*?\] )?([a-z]+)", README))
    assert "train" in named
    assert named <= COMMANDS.keys()


def test_every_demo_is_in_the_table() -> None:
    demos = {path.name for path in (ROOT / "demos").glob("*.py")}
    assert {name for name in demos if f"demos/{name}" not in README} == set()


@pytest.mark.slow
def test_the_python_trains_a_gpt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    loss = float(re.findall(r"step 300/300 \| loss ([0-9.]+)", printed)[0])
    assert loss < 3  # from ln 80 = 4.4
    assert "\nthe " in printed
