"""The command inspect: the page that it writes, and wrong arguments."""

import json
import re
from pathlib import Path

import pytest
from tiny_base import call, make_base

HOSTILE = "</script><b>\"'&\u2028\0\x1b<!--"


def saved(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="saved">(.*?)</script>', page, re.S).group(1))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out, hostile = make_base(tmp_path / "run"), tmp_path / "page.html", HOSTILE.replace("\0", "")
    code, said, errors = call(capsys, "inspect", "--model", folder, "--prompt", hostile, "--out", out)
    assert (code, errors) == (0, [])
    assert "open it in a browser" in said
    page = saved(out.read_text("utf-8"))
    assert page["kind"] == "inspect" and str(folder) in page["title"]
    assert (
        "look " + json.dumps({"prompt": hostile, "at": "live"}, ensure_ascii=False, separators=(",", ":"))
        in page["answers"]
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prompt", ""],
        ["--prompt", "a"],
        ["--prompt", "abc", "--out", "/nowhere/page.html"],
        ["--prompt", "abc", "--out", "."],
        ["--prompt", "abc", "--model", "/nowhere"],
        [],
    ],
)
def test_misuse_is_one_line(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_base(tmp_path / "run")
    try:
        code, _, errors = call(capsys, "inspect", "--model", folder, *arguments)
    except SystemExit as refused:
        code, errors = refused.code, capsys.readouterr().err.splitlines()
    assert code == 2 and len(errors) == 1


def test_an_invalid_byte_in_the_prompt_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte that is no UTF-8, which a shell may pass on."""
    folder, out = make_base(tmp_path / "run"), tmp_path / "page.html"
    code, _, errors = call(capsys, "inspect", "--model", folder, "--prompt", "ab\udcff", "--out", out)
    assert code in (0, 1, 2) and len(errors) == (0 if code == 0 else 1)
    assert out.exists() == (code == 0)


def test_a_long_prompt_is_shortened_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = make_base(tmp_path / "run"), tmp_path / "page.html"
    code, printed, _ = call(capsys, "inspect", "--model", folder, "--prompt", "abc " * 200, "--out", out)
    assert code == 0 and "left out: the tokens before the last" in printed
