"""Texts encoded once: the ids of the whole, used again, finished when interrupted, never trusted when damaged."""

from __future__ import annotations

import io
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_process import ENVIRONMENT, PATIENCE, PROGRAM, TINY_RUN, held, start

from tinygrad_llm.cli import main
from tinygrad_llm.data import LongText, train_validation_split
from tinygrad_llm.errors import CheckpointError, DataError
from tinygrad_llm.formats import RunLock
from tinygrad_llm.runs import encoding
from tinygrad_llm.runs.encoding import EncodedText, encode_once
from tinygrad_llm.runs.vocabulary_sample import vocabulary_sample
from tinygrad_llm.text import BPETokenizer, CharTokenizer, SimpleTokenizerV2, load_tokenizer
from tinygrad_llm.train import StatusLine
from tinygrad_llm.train.parallel import mapping

WORDS = [
    "it's ",
    "naïve ",
    "  ",
    "\r\n",
    "漢字、",
    "one",
    "<|endoftext|>",
    "<|endof",
    "'ll ",
    "\n\n",
    "23.5 ",
    " " * 30,
    "🙂",
]
TOKENIZER = BPETokenizer.train(WORDS * 3, 300)
SMALL = [
    *TINY_RUN,
    "--steps",
    "4",
    "--warmup-steps",
    "1",
    "--eval-interval",
    "2",
]

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=60).map("".join).filter(str.strip)


class Said(StatusLine):
    """Remembers what was said."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())

    def __str__(self) -> str:
        return self.stream.getvalue()  # type: ignore[attr-defined]


def in_blocks(text: str, size: int = 7) -> LongText:
    return LongText("the text", lambda: (text[at : at + size] for at in range(0, len(text), size)))


def expect_ids_of(text: str, encoded: EncodedText) -> None:
    train, validation = train_validation_split(text, 0.1)
    np.testing.assert_array_equal(encoded.train, TOKENIZER.encode_to_array(train, "all"))
    np.testing.assert_array_equal(encoded.validation, TOKENIZER.encode_to_array(validation, "all"))
    assert encoded.validation_bytes == len(validation.encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, size=st.integers(1, 20), stop=st.integers(0, 60))
def test_ids_are_those_of_the_whole_even_after_an_interruption(tmp_path: Path, text: str, size: int, stop: int) -> None:
    fails_at, said = [stop], Said()

    class Interrupted(BPETokenizer):
        encoding_threads = 1

        def encode_to_array(self, *arguments: Any) -> np.ndarray:
            fails_at[0] -= 1
            if fails_at[0] == 0:
                raise KeyboardInterrupt
            return super().encode_to_array(*arguments)

    tokenizer = Interrupted(TOKENIZER.ranks, TOKENIZER.special_tokens)
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    try:
        encoded = encode_once(in_blocks(text, size), tokenizer, folder, said)
    except KeyboardInterrupt:
        assert "are encoded and kept in" in str(said)
        encoded = encode_once(in_blocks(text, size), tokenizer, folder, said)
    expect_ids_of(text, encoded)
    again = encode_once(in_blocks(text, size), tokenizer, folder, said)
    expect_ids_of(text, again)
    assert "text and tokenizer are unchanged: using the ids in" in str(said) and again.seconds == 0


TEXT = "The quick brown fox jumps over the lazy dog.\n" * 60


@pytest.mark.usefixtures("no_other_threads")
def test_workers_encode_words_to_the_ids_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, text = SimpleTokenizerV2.train(TEXT[:20]), "".join(f"{TEXT[:99]} {n} <|endoftext|>\n" for n in range(50))
    train, validation = (words.encode_to_array(part, "all") for part in train_validation_split(text, 0.1))
    monkeypatch.setattr(encoding, "SHARED", 1_000)

    chunks = itertools.count()

    class Interrupted(Said):
        def renew(self, line: Any) -> None:
            assert len(multiprocessing.active_children()) == 2
            if next(chunks) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_once(in_blocks(text, 500), words, tmp_path, Interrupted(), workers=3)
    assert multiprocessing.active_children() == []
    said = Said()
    encoded = encode_once(in_blocks(text, 500), words, tmp_path, said, workers=2)
    assert "where it was interrupted" in str(said)
    np.testing.assert_array_equal(encoded.train, train)
    np.testing.assert_array_equal(encoded.validation, validation)
    monkeypatch.setattr(mapping, "Processes", lambda *_: pytest.fail("more than one process"))
    monkeypatch.setattr(mapping, "usable_cores", lambda: 2)
    encode_once(in_blocks(text, 500), words, tmp_path / "alone", Said(), workers=1)
    encode_once(in_blocks(text, 500), CharTokenizer.train(text), tmp_path / "fast", Said())


def test_another_text_or_tokenizer_gets_ids_of_its_own(tmp_path: Path) -> None:
    said = Said()
    paths = {
        encode_once(in_blocks(text), tokenizer, tmp_path, said).path
        for text in (TEXT, TEXT + "!")
        for tokenizer in (TOKENIZER, CharTokenizer.train(TEXT + "!"))
    }
    assert len(paths) == 4 and "unchanged" not in str(said)


@pytest.mark.parametrize("damage", ["flipped", "shorter", "longer", "gone", "manifest"])
def test_damaged_ids_are_encoded_again_and_not_trained_on(tmp_path: Path, damage: str) -> None:
    path = encode_once(in_blocks(TEXT), TOKENIZER, tmp_path, Said()).path
    good = path.read_bytes()
    path = path.with_suffix(".json") if damage == "manifest" else path
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        bad = {"shorter": content[:-2], "longer": content + b"\0\0"}.get(damage, b"\x7f" + content[1:])
        path.write_bytes(bad)
    said = Said()
    encoded = encode_once(in_blocks(TEXT), TOKENIZER, tmp_path, said)
    expect_ids_of(TEXT, encoded)
    assert "encoding the text again" in str(said) and encoded.path.read_bytes() == good


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    for later in (TEXT.replace("fox", "cat"), TEXT[:-100]):
        readings = iter([TEXT, later, later])
        text = LongText("the text", lambda readings=readings: iter([next(readings)]))
        with pytest.raises(DataError, match="the text must stay as it is while it is read; it has changed"):
            encode_once(text, TOKENIZER, tmp_path, Said())
    expect_ids_of(TEXT, encode_once(in_blocks(TEXT), TOKENIZER, tmp_path, Said()))


def test_what_was_encoded_from_a_changed_text_is_not_gone_on_with(tmp_path: Path) -> None:
    """The text changed under a process that was killed before it could notice, and then was restored."""
    readings = iter([TEXT, TEXT.replace("fox", "cat")])

    def read() -> Iterator[str]:
        yield (text := next(readings))[:1000]
        if "cat" in text:
            raise KeyboardInterrupt
        yield text[1000:]

    with pytest.raises(KeyboardInterrupt):
        encode_once(LongText("the text", read), CharTokenizer.train(TEXT), tmp_path, Said())
    said = Said()
    tokenizer = CharTokenizer.train(TEXT)
    encoded = encode_once(in_blocks(TEXT), tokenizer, tmp_path, said)
    assert "changed while it was encoded; encoding the text again" in str(said)
    assert tokenizer.decode(encoded.train) + tokenizer.decode(encoded.validation) == TEXT


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with RunLock(tmp_path), pytest.raises(CheckpointError, match="one run at a time may write here; process"):
        encode_once(in_blocks(TEXT), TOKENIZER, tmp_path, Said())
    encode_once(in_blocks(TEXT), TOKENIZER, tmp_path, Said())
    with RunLock(tmp_path):
        expect_ids_of(TEXT, encode_once(in_blocks(TEXT), TOKENIZER, tmp_path, Said()))


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="the folder of ids cannot be made"):
        encode_once(in_blocks(TEXT), TOKENIZER, tmp_path / "file" / "ids", Said())


# The sample that a vocabulary is learned from ------------------------------------------------------------------------


def test_a_short_text_is_its_own_sample() -> None:
    assert "".join(vocabulary_sample(in_blocks(TEXT), 1000, 1e6)) == TEXT[:1000]


@settings(max_examples=40)
@given(st.integers(1, 3000))
def test_a_sample_has_about_its_size_and_whole_words_from_everywhere(size: int) -> None:
    text = " ".join(f"word{number:05d}" for number in range(1000))
    stretches = list(vocabulary_sample(in_blocks(text, 500), len(text), size))
    assert stretches == list(vocabulary_sample(in_blocks(text, 500), len(text), size))
    words = "".join(stretches).split()
    assert set(words) <= set(text.split())
    assert sum(map(len, stretches)) <= 2 * size + 20


def test_samples_are_spread_evenly() -> None:
    text = " ".join(f"{number:05d}" for number in range(200_000))
    stretches = list(vocabulary_sample(in_blocks(text, 1 << 16), len(text), 300_000))
    starts = [int(stretch.split()[0]) for stretch in stretches]
    assert 4 <= len(starts) <= 6 and min(np.diff(starts)) > 200_000 / 7


# From the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my texts").mkdir()
    for name in ("b", "a", "c d"):
        (tmp_path / "my texts" / f"{name}.txt").write_text(f"{name}: {TEXT}")
    return tmp_path


def train(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["train", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err.strip()


def test_a_folder_with_spaces_trains_and_a_second_run_uses_its_ids(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", folder / "my texts", "--vocab-size", "280", "--ids", folder / "kept ids", *SMALL]
    code, first, _ = train(capsys, *data, "--out", folder / "one")
    assert code == 0 and "unchanged" not in first and not (folder / "one" / "ids").exists()
    code, second, _ = train(capsys, *data, "--out", folder / "two", "--learning-rate", "0.002")
    assert code == 0 and f"unchanged: using the ids in {folder / 'kept ids'}" in second
    code, resumed, _ = train(capsys, "--resume", "--out", folder / "two", "--steps", "6")
    assert code == 0 and "unchanged: using the ids in" in resumed and "step 6/6" in resumed
    (folder / "kept ids").rename(folder / "moved")
    code, moved, _ = train(capsys, "--resume", "--out", folder / "two", "--steps", "7", "--ids", folder / "moved")
    assert code == 0 and f"using the ids in {folder / 'moved'}" in moved


def test_a_sample_is_stated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "long.txt").write_text(TEXT * 400)
    data = ["--data", folder / "long.txt", "--vocab-size", "270", *SMALL]
    code, said, _ = train(capsys, *data, "--vocab-sample", "0.25", "--out", folder / "run")
    assert code == 0 and "on a sample of 0.25 of " in said and " MB, spread evenly over the training part ..." in said


def test_misuse_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    (folder / "binary").mkdir()
    (folder / "binary" / "a.txt").write_bytes(bytes(range(256)))
    (folder / "nothing.txt").write_bytes(b"")
    text = folder / "my texts"
    for arguments, message in (
        (["--data", folder / "empty"], "found none: put"),
        (["--data", folder / "nothing.txt"], "the file is empty"),
        (["--data", folder / "binary"], "must be UTF-8; byte 128 is 0x80"),
        (["--data", folder / "*.none"], "found none: check the spelling"),
        (["--data", text, "--vocab-sample", "-1"], "--vocab-sample must be a finite number above 0; got -1.0"),
        (["--data", text, "--vocab-sample", "nan"], "--vocab-sample must be a finite number above 0; got nan"),
        (["--data", text, "--vocab-sample", "1", "--tokenizer", "char"], "--vocab-sample is for --tokenizer bpe"),
    ):
        code, _, errors = train(capsys, *arguments, "--out", folder / "run", *SMALL)
        assert code == 2 and len(errors.splitlines()) == 1 and message in errors
    code, _, errors = train(capsys, "--data", text, "--ids", folder / "nothing.txt", "--out", folder / "run", *SMALL)
    assert code == 1 and len(errors.splitlines()) == 1 and "folder of ids cannot be made" in errors


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything may be read by root")
def test_an_unreadable_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "my texts" / "b.txt").chmod(0)
    code, _, errors = train(capsys, "--data", folder / "my texts", "--out", folder / "run", *SMALL)
    assert code == 2 and len(errors.splitlines()) == 1 and "permission to read it is denied" in errors


@pytest.mark.skipif(sys.platform != "linux", reason="kills processes")
@pytest.mark.parametrize("signum", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_encoding_goes_on_to_the_same_ids(tmp_path: Path, signum: int) -> None:
    text = "".join(f"{number} times {TEXT[:2000]}\n" for number in range(1500))
    (tmp_path / "text.txt").write_text(text)
    command = [*PROGRAM, "train", "--data", "text.txt", "--out", "run", "--ids", "ids", *SMALL, "--vocab-size", "300"]
    command += ["--vocab-sample", "0.1"]
    in_chunks = held(command, 1, "tinygrad_llm.data.id_file:IdWriter.record")
    in_chunks[2] = "import tinygrad_llm.data.id_file as id_file; id_file.RECORD_INTERVAL = -1.0\n" + in_chunks[2]
    with start(in_chunks, cwd=tmp_path) as process:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline and not list(tmp_path.glob("ids/*.json")):
            time.sleep(0.005)
        process.send_signal(signum)
        printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == (130 if signum == signal.SIGINT else -signum)
    assert ("are encoded and kept in" in printed) == (signum == signal.SIGINT)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "on, where it was interrupted" in done.stdout
    (path,) = tmp_path.glob("ids/*.ids")
    tokenizer = load_tokenizer(tmp_path / "run")
    ids = [tokenizer.encode_to_array(part, "all") for part in train_validation_split(text, 0.1)]
    assert path.read_bytes() == np.concatenate(ids).tobytes()


# Not getrusage, which counts what the process was before it became this program: a copy of the tests' own.
PEAK = """
import re, sys
from tinygrad_llm.cli import main
code = main(sys.argv[1:])
print("peak", re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_memory_stays_flat(tmp_path: Path, tokenizer: str) -> None:
    peaks = []
    options = ["--vocab-size", "300", "--vocab-sample", "0.5"] if tokenizer == "bpe" else []
    for megabytes in (1, 64):
        path = tmp_path / f"{megabytes}.txt"
        path.write_text(TEXT * (megabytes * 10**6 // len(TEXT)))
        arguments = ["train", "--data", str(path), "--tokenizer", tokenizer, "--out", str(tmp_path / f"run{megabytes}")]
        command = [sys.executable, "-c", PEAK, *arguments, *options, *SMALL]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE)
        assert (done.returncode, done.stderr) == (0, "")
        peaks.append(int(done.stdout.split()[-1]) / 1e3)
        path.unlink()
    print(f"{tokenizer}: peak memory {peaks[0]:.0f} MB for 1 MB of text, {peaks[1]:.0f} MB for 64 MB")
    assert peaks[1] < peaks[0] + 25
