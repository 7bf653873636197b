"""The texts that come with Python: what is in them, that the validation part is new, and Pythons that lack a part."""

import os
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm.errors import DataError
from tinygrad_llm.text import corpora, python_library


def paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def phrases(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + 8]) for i in range(len(words) - 7)}


def test_pythons_own_documentation() -> None:
    text = corpora.load_text("python-docs")
    assert 300_000 < len(text) < 900_000
    assert text == corpora.load_text("python-docs")
    assert "assert" in text[:200]


def check(text: str) -> None:
    """Nothing stands twice, and the validation part is new and of every kind."""
    long = [paragraph for paragraph in paragraphs(text) if len(paragraph) >= 40]
    assert len(long) == len(set(long)) > 3_000
    cut = int(0.9 * len(text))
    training, validation = text[:cut], text[cut:]
    known, new = phrases(training), phrases(validation)
    assert len(new & known) < 0.12 * len(new)
    assert "array_like" in validation  # as NumPy's docstrings say
    assert text[:cut].startswith('The "assert" statement')
    assert "***********" in validation[-25_000:] and "array_like" not in validation[-25_000:]  # topics, with headings


def test_nothing_stands_twice_and_the_validation_part_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the docstrings of a few modules: all of them take three seconds."""
    few = {"argparse", "collections", "email", "json", "statistics", "textwrap", "this"}
    numpy_lib = os.path.join(os.path.dirname(np.__file__), "lib")
    monkeypatch.setattr(sys, "stdlib_module_names", few)
    monkeypatch.setattr(python_library, "_numpy_sources", lambda: python_library._sources([numpy_lib], "numpy.lib."))
    check(corpora.load_text("python-library"))


@pytest.mark.slow
def test_the_whole_library() -> None:
    text = corpora.load_text("python-library")
    check(text)
    assert 2_500_000 < len(text) < 6_000_000


def test_held_out_texts_come_from_everywhere_and_are_a_fixed_part() -> None:
    texts = [f"{i:03}" + "x" * (i % 50 + 1) for i in range(1000)]
    training, held_out = python_library._divided(texts)
    assert sorted(training + held_out) == texts
    share = sum(map(len, held_out)) / sum(map(len, texts))
    assert python_library.HELD_OUT <= share < python_library.HELD_OUT + 0.01
    assert {text[0] for text in held_out} == set("0123456789")


def test_repetitions_and_near_copies_are_left_out() -> None:
    one = "The first paragraph says what the function does, at some length."
    note = "It raises an error for negative numbers, as the other one does, and for none."
    seen: set[str] = set()
    example = ">>> negate(-1), which is an example that nobody needs to read as a sentence"
    texts = [one, f"{one}\n\n{note}\n\n{example}", f"{note}\n\nNote:"]
    assert python_library._without_repetitions(texts, seen) == [one, note]
    copied = note.replace("none", "no number at all")
    fresh = "Nothing of this sentence can be read in any other paragraph of this small test."
    longer = f"{fresh}\n\n{copied}"
    assert python_library._without_near_copies([copied, longer], [one, note]) == [longer]


def test_sources_are_read_from_folders_and_zip_files_and_never_run(tmp_path: Path) -> None:
    package = tmp_path / "one" / "package"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text('"""The package."""\nraise SystemExit("run")\n')
    (package / "b.py").write_text('def f():\n    """Of f."""\nclass A:\n    """Of A."""\n    x = "\\d"\n')
    (package / "broken.py").write_text("def f(:\n")
    (package / "latin.py").write_bytes(b'"""\xe9"""')
    for name in ("__init__", "test_b"):
        (package / "tests" / f"{name}.py").write_text('"""A test."""')
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for file in package.rglob("*.py"):
            archive.write(file, file.relative_to(tmp_path / "one"))
    for place in (tmp_path / "one", tmp_path / "two.zip"):
        sources = python_library._sources([str(place)])
        assert python_library._docstrings(sources) == ["The package.", "Of f.", "Of A."]
    assert python_library._docstrings(python_library._sources([str(tmp_path / "none")])) == []


@pytest.mark.parametrize("name", ["python-docs", "python-library"])
@pytest.mark.parametrize("stripped", [None, types.ModuleType("pydoc_data.topics")])
def test_a_python_without_documentation_names_the_flag(
    name: str, stripped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", stripped)
    with pytest.raises(DataError, match="--data FILE"):
        corpora.load_text(name)


def test_a_python_without_sources_names_another_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_library.os, "__file__", str(tmp_path / "os.py"))
    with pytest.raises(DataError, match=r"sources of its library.* --data python-docs"):
        corpora.load_text("python-library")
