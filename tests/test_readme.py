"""The README keeps its word: its links lead somewhere, its commands exist, its Python runs."""

import ast
import io
import re
import tokenize
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


def lines_of_code(source: str) -> int:
    """Lines that are more than docstring, comment or blank."""
    prose = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    empty = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in empty]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - prose)


def test_the_lines_of_each_model_are_counted() -> None:
    counts = re.findall(r"\]\((tinygrad_llm/\S+\.py)\), (\d+) \|$", README, re.MULTILINE)
    assert len(counts) == 5
    for path, lines in counts:
        assert int(lines) == lines_of_code((ROOT / path).read_text(encoding="utf-8")), path


@pytest.mark.slow
def test_the_python_trains_a_gpt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    loss = float(re.findall(r"step 300/300 \| loss ([0-9.]+)", printed)[0])
    assert loss < 3  # from ln 80 = 4.4
    assert "\nthe " in printed
