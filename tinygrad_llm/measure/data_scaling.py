"""Whether a long text costs more than a short one: memory and speed of encoding it, and of training on it.

    for point in measure_texts([1, 10, 100]):
        print(point)

The texts are made up, of words that are as unevenly frequent as those of a language, and written to a temporary folder.
Each goes the way of `tinygrad-llm train`: read once for its length and hash, encoded once into a file of ids, and
trained on through a memory map.
"""

from __future__ import annotations

import io
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from tinygrad_llm.data import LongText, WindowLoader
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure.peak_memory import HighWaterMark
from tinygrad_llm.measure.training_step import TrainingStep, Workload, gpt_like_nanogpt
from tinygrad_llm.random import Generator
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import StatusLine
from tinygrad_llm.train.encoding import encode_once

MEGABYTE = 10**6
SMALLEST = 0.1  # MB: less would not fill the batches
BLOCK = MEGABYTE  # bytes that are made up at a time
WORDS = 5000
SKEW = 4  # of the words' frequencies: the most frequent one in a hundred makes a third of the text
VOCABULARY = 512
SAMPLE = 300_000  # characters that the tokenizer is trained on
STEPS = 20
ROOM = 2.5  # bytes on the disk for each of the text: itself and its ids


@dataclass
class TextPoint:
    """A text of `bytes`. Units: seconds, bytes; memory is all that the process held at most, None where unknown.

    `encoding_memory` is from the first reading to the last id, `training_memory` while the model was made and trained,
    the mapped ids that were looked at included. `tokens_per_second` is the median of steps that draw their batch first.
    """

    bytes: int
    tokens: int
    reading_seconds: float
    encoding_seconds: float
    encoding_memory: int | None
    tokens_per_second: float
    training_memory: int | None


def measure_texts(
    megabytes: Sequence[float], seed: int = 0, progress: Callable[[str], None] = lambda _: None
) -> Iterator[TextPoint]:
    """Each size as soon as it is measured; the temporary folder is gone when all are, or the work is broken off.

    Raises: ConfigError for a size that is too small, or for which the disk has no room
    """
    for size in megabytes:
        if not size >= SMALLEST:
            raise ConfigError(f"a text to measure with must have at least {SMALLEST} MB; got {size:g}")
    free, needed = shutil.disk_usage(tempfile.gettempdir()).free, ROOM * MEGABYTE * max(megabytes, default=0)
    if needed > free:
        raise ConfigError(
            f"a text of {max(megabytes):g} MB and its ids need {needed / 1e9:,.1f} GB in {tempfile.gettempdir()}; "
            f"{free / 1e9:,.1f} GB are free: choose a smaller one, or another folder by TMPDIR"
        )
    sample = "".join(made_up_text(SAMPLE, Generator(seed)))
    tokenizer = BPETokenizer.train(sample, VOCABULARY)
    workload = Workload(gpt_like_nanogpt(tokenizer.vocab_size, 64, 128, 4, 4), batch_size=12, steps=STEPS)
    for size in megabytes:
        with tempfile.TemporaryDirectory(prefix="tinygrad_llm_") as folder:
            path = Path(folder, "text.txt")
            progress(f"{size:g} MB: writing")
            with path.open("w", encoding="ascii") as file:
                file.writelines(made_up_text(round(size * MEGABYTE), Generator(seed)))
            yield _measured(path, tokenizer, workload, seed, _prefixed(f"{size:g} MB: ", progress))


def _prefixed(prefix: str, progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda what: progress(prefix + what)


def _measured(
    path: Path, tokenizer: BPETokenizer, workload: Workload, seed: int, progress: Callable[[str], None]
) -> TextPoint:
    progress("reading")
    mark, started = HighWaterMark(), perf_counter()
    text = LongText.of_files(path)
    size = text.survey.bytes
    reading_seconds = perf_counter() - started
    progress("encoding")
    started = perf_counter()
    encoded = encode_once(text, tokenizer, path.parent / "ids", StatusLine(io.StringIO()))
    encoding_seconds, encoding_memory = perf_counter() - started, mark.highest
    progress("training")
    mark = HighWaterMark()
    step = TrainingStep(workload, seed)
    loader = WindowLoader(encoded.train, workload.config.context_length, workload.batch_size, Generator(seed))
    times: list[float] = []
    while len(times) <= workload.steps:
        batches = iter(loader)
        while len(times) <= workload.steps:
            started = perf_counter()
            batch = next(batches, None)
            if batch is None:
                break  # the end of a short text's epoch
            step.ids, step.targets = batch
            step()
            times.append(perf_counter() - started)
    tokens = len(encoded.train) + len(encoded.validation)
    speed = workload.tokens / statistics.median(times[1:])  # the first step makes what later ones use again
    return TextPoint(size, tokens, reading_seconds, encoding_seconds, encoding_memory, speed, mark.highest)


def made_up_text(size: int, generator: Generator) -> Iterator[str]:
    """`size` letters, spaces and line ends in all, block by block, never held whole."""
    letters = np.frombuffer(b"etaoinshrdlu", np.uint8)
    lengths = generator.randint(2, 11, (WORDS,))
    words = [letters[generator.randint(0, len(letters), (int(n),))].tobytes().decode() for n in lengths]
    words = [word + (" " if number % 12 else "\n") for number, word in enumerate(words)]
    while size > 0:
        chosen = (WORDS * generator.rand(BLOCK // 4) ** SKEW).astype(int)
        block = "".join([words[number] for number in chosen])[: min(size, BLOCK)]
        yield block
        size -= len(block)
