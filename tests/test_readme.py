"""The READMEs: links lead to files and headings, commands and demos exist, the Python runs, the front page is short."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
from test_core import CORE, files

from tinygrad_llm.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tinygrad_llm"
PAGES = {
    path: (ROOT / path).read_text("utf-8")
    for path in ("README.md", "demos/README.md", "tests/README.md", "tinygrad_llm/README.md")
}
README = PAGES["README.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(markdown: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    links = [link for link in LINK.findall(PAGES[page]) if not link.startswith("https://")]
    assert len(links) > 3
    broken = []
    for link in links:
        path, _, anchor = link.replace("\\", "").partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_every_path_in_a_command_exists(page: str) -> None:
    paths = re.findall(r"(?<![\w/.(\[])((?:demos|tests|tinygrad_llm)/[\w/]+(?:\.py)?)", PAGES[page])
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_pages_lead_to_each_other() -> None:
    assert [page for page in PAGES if page != "README.md" and f"({page})" not in README] == []


def test_the_front_page_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 110
    assert max(len(line) for line in lines) <= 160


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists(page: str) -> None:
    named = re.findall(r"tinygrad-llm (?:\[.*?\] )?([a-z]+)", PAGES[page])
    assert set(named) <= COMMANDS.keys()


def test_the_table_of_commands_is_complete() -> None:
    table = PAGES["tinygrad_llm/README.md"].split("## Commands")[1].split("\n## ")[0]
    named = {
        name for row in re.findall(r"^\|.*\| (`.*) \|$", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == COMMANDS.keys()


def test_every_demo_is_in_a_table() -> None:
    demos = {path.name for path in (ROOT / "demos").glob("*.py")}
    assert {name for name in demos if f"({name})" not in PAGES["demos/README.md"]} == set()


def test_every_room_is_on_the_map() -> None:
    the_map = PAGES["tinygrad_llm/README.md"].split("## The map")[1].split("\n## ")[0]
    rooms = {f"{path.name}" for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {room for room in rooms - {"__init__.py"} if f"({room})" not in the_map} == set()


def test_the_reading_path_has_twelve_stops_in_the_core() -> None:
    stops = re.findall(r"^(\d+)\. \[[^]]+\]\((\S+)\): \S.+\.$", README, re.MULTILINE)
    assert [int(number) for number, _ in stops] == list(range(1, len(stops) + 1))
    assert 10 <= len(stops) <= 14
    outside = {path for _, path in stops if ROOT / path not in files(CORE)}
    assert outside <= {"tinygrad_llm/text/tokenizer.py"}  # a GPT trains on ids; where they come from is shown too


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
    counted = {path: lines_of_code((ROOT / path).read_text("utf-8")) for path, _ in counts}
    assert {path: int(lines) for path, lines in counts} == counted


@pytest.mark.slow
def test_the_python_trains_a_gpt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    loss = float(re.findall(r"step 300/300 \| loss ([0-9.]+)", printed)[0])
    assert loss < 3  # from ln 80 = 4.4
    assert "\nthe " in printed
