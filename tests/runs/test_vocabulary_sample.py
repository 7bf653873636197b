"""The pieces of a long sample are counted by several processes, to the counts of one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.data import LongText
from tinygrad_llm.errors import WorkerError
from tinygrad_llm.runs import vocabulary_sample as module
from tinygrad_llm.runs.vocabulary_sample import pieces_of_sample, vocabulary_sample
from tinygrad_llm.text import END_OF_TEXT, BPETokenizer
from tinygrad_llm.text.bpe_training import count_pieces
from tinygrad_llm.train.parallel import mapping

pytestmark = pytest.mark.usefixtures("no_other_threads")
WORDS = [f"word{number * 7919 % 97} né {number}\n" for number in range(12_000)]


@pytest.fixture
def text(tmp_path: Path) -> LongText:
    (tmp_path / "text.txt").write_text("".join(WORDS) + END_OF_TEXT + " end", "utf-8")
    return LongText.of_files(str(tmp_path / "text.txt"))


def share_among(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARED", 1e5)
    monkeypatch.setattr(mapping, "usable_cores", lambda: cores)


@pytest.mark.parametrize("size", [1e9, 2e5])
def test_several_processes_count_what_one_counts(size: float, text: LongText, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = text.survey.characters - 3
    expected = count_pieces(vocabulary_sample(text, stop, size), [END_OF_TEXT])
    counted_by: list[int] = []
    share_among(3, monkeypatch)

    def counting(*arguments: Any) -> Any:
        counted_by.append(os.getpid())
        return count_pieces(*arguments)

    monkeypatch.setattr(module, "count_pieces", counting)
    counts = pieces_of_sample(text, stop, size, [END_OF_TEXT])
    assert counts == expected and len(counted_by) == 1  # the others counted in processes of their own
    assert BPETokenizer.train(counts, 400).ranks == BPETokenizer.train(vocabulary_sample(text, stop, size), 400).ranks
    assert multiprocessing.active_children() == []


def test_a_short_sample_is_counted_in_one_process(text: LongText, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "usable_cores", lambda: pytest.fail("several processes for a short text"))
    assert pieces_of_sample(text, 1000, 1e9, [END_OF_TEXT]).total() > 100


def test_among_processes_of_mpiexec_one_process_counts(text: LongText, monkeypatch: pytest.MonkeyPatch) -> None:
    share_among(2, monkeypatch)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setattr(mapping, "Processes", lambda *_: pytest.fail("a process was forked"))
    assert pieces_of_sample(text, 1000, 1e9, []).total() > 100


def test_a_process_that_is_killed_ends_the_count(text: LongText, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()

    def killed(*arguments: Any) -> Any:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return count_pieces(*arguments)

    share_among(2, monkeypatch)
    monkeypatch.setattr(module, "count_pieces", killed)
    with pytest.raises(WorkerError, match="was killed by SIGKILL"):
        pieces_of_sample(text, text.survey.characters, 1e9, [])
    assert multiprocessing.active_children() == []
