"""`duplicates`: pairs and a file without them, for each kind of file; what exists is never overwritten."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_base import call

RECORDS: list[dict[str, Any]] = [
    {"instruction": "Name a bird.", "input": "", "output": "A robin."},
    {"instruction": "Sort the words.", "input": "pear, apple", "output": "apple, pear"},
    {"instruction": "NAME a bird!", "input": None, "output": "An owl."},
    {"instruction": "Sort the words.", "input": "pear apple", "output": "apple pear", "chosen": "x", "rejected": "y"},
    {"instruction": "Sort the words.", "input": "plum, apple", "output": "apple, plum"},
]


def test_a_json_list_of_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "all.json", tmp_path / "new.json"
    path.write_text(json.dumps(RECORDS))
    code, printed, errors = call(capsys, "duplicates", path, "--out", out)
    assert (code, errors) == (0, [])
    lines = printed.splitlines()
    assert lines[0].startswith("5 records of") and lines[0].endswith("by the fields instruction, input")
    assert lines[1] == "2 near-duplicates, of similarity 0.95 or more; 2 of them differ in no group of 3 characters"
    assert lines[2:4] == ["1.000  record 0: Name a bird.", "       record 2: NAME a bird!"]
    assert json.loads(out.read_text()) == [RECORDS[0], RECORDS[1], RECORDS[4]]
    assert "0 near-duplicates" in call(capsys, "duplicates", out)[1]
    before = out.read_bytes()
    assert "nothing is overwritten" in call(capsys, "duplicates", path, "--out", out)[2][0]
    assert out.read_bytes() == before
    assert "\n1 near-duplicate, " in call(capsys, "duplicates", path, "--fields", "output")[1]
    assert "3 near-duplicates" in call(capsys, "duplicates", path, "--threshold", "0.5")[1]
    code, printed, _ = call(capsys, "duplicates", path, "--json")
    pairs = [json.loads(line) for line in printed.splitlines()]
    assert pairs == [{"record": 2, "kept": 0, "similarity": 1.0}, {"record": 3, "kept": 1, "similarity": 1.0}]


def test_json_lines_and_lines_of_text_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"b": 1, "text": text}) + "\n" for text in ("one\u2028two", "three", "ONE two.")]
    (tmp_path / "a.jsonl").write_text(lines[0] + "\n" + lines[1] + lines[2])
    assert call(capsys, "duplicates", tmp_path / "a.jsonl", "--out", tmp_path / "b.jsonl")[0] == 0
    assert (tmp_path / "b.jsonl").read_text() == lines[0] + "\n" + lines[1]
    (tmp_path / "a.tsv").write_text("ham\thello there\n\nham\tHello, there\nspam\twin")
    code, printed, _ = call(capsys, "duplicates", tmp_path / "a.tsv", "--out", tmp_path / "b.tsv")
    assert code == 0 and "       line 3: ham Hello, there" in printed
    assert (tmp_path / "b.tsv").read_text() == "ham\thello there\n\nspam\twin"


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.json", "{}", [], "must be a JSON list of at least one record; got dict"),
        ("a.json", "[]", [], "must be a JSON list of at least one record"),
        ("a.json", "[1]", [], "record 0: must be an object with text; got int"),
        ("a.json", '[{"instruction": 3}]', [], "record 0: 'instruction' must be text; got int"),
        ("a.json", '[{"a": "x"}, {"a": 3}]', [], "record 1: must have a field that is text"),
        ("a.json", '[{"a": "x"}]', ["--fields", "b"], "record 0: 'b' must be text; got no such field"),
        ("a.json", '[{"a": "x"}]', ["--fields", ","], "--fields must name a field"),
        ("a.json", "[", [], "a.json"),
        ("a.jsonl", '{"a": "x"}\n{', [], "line 2"),
        ("a.txt", "", [], "the file is empty"),
        ("a.txt", "\n\n", [], "must have at least one line that is not empty"),
        ("a.txt", "x", ["--fields", "a"], "--fields is for records of JSON"),
        ("a.txt", "x", ["--threshold", "0"], "--threshold must be above 0 and at most 1; got 0.0"),
        ("a.txt", "x", ["--ngram", "0"], "--ngram must be an integer of at least 1; got 0"),
        ("a.txt", "x", ["--show", "-1"], "--show must be at least 0; got -1"),
        ("a.txt", "x", ["--out", "no/such/folder/x"], "--out must be in a folder that exists"),
    ],
)
def test_misuse_is_one_line(
    tmp_path: Path, name: str, content: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    code, _, errors = call(capsys, "duplicates", tmp_path / name, *options)
    assert (code, len(errors)) == (2, 1) and message in errors[0], errors
