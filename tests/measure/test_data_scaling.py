"""Random texts of any size, and the measurements of each."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tinygrad_llm import Generator
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure import data_scaling
from tinygrad_llm.measure.data_scaling import BLOCK, measure_texts, random_text


def test_random_text_has_its_size_and_uneven_words() -> None:
    blocks = list(random_text(BLOCK + 1234, Generator(3)))
    assert list(map(len, blocks)) == [BLOCK, 1234]
    assert blocks == list(random_text(BLOCK + 1234, Generator(3))) != list(random_text(BLOCK + 1234, Generator(4)))
    counts = sorted(Counter(blocks[0].split()).values(), reverse=True)
    assert counts[0] > 50 * counts[len(counts) // 2]
    assert blocks[0].count("\n") > 1000


def test_each_text_is_measured_and_its_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(data_scaling, "STEPS", 2)
    said = []
    points = list(measure_texts([0.1, 0.2], progress=said.append))
    assert [point.bytes for point in points] == [100_000, 200_000]
    assert 1.9 < points[1].tokens / points[0].tokens < 2.1 and points[0].tokens < 60_000
    assert all(min(p.reading_seconds, p.encoding_seconds, p.tokens_per_second) > 0 for p in points)
    assert said[:4] == [f"0.1 MB: {what}" for what in ("writing", "reading", "encoding", "training")]
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_removes_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def interrupted(what: str) -> None:
        if what.endswith("encoding"):
            assert list(tmp_path.iterdir()) != []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(measure_texts([0.1], progress=interrupted))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("size", "said"), [(0.0, "at least"), (float("nan"), "at least"), (1e15, "are free")])
def test_impossible_sizes_are_refused(size: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        next(measure_texts([1, size]))
