"""How memory and speed depend on the length of the text: when it is encoded, and when a model trains on it.

    for point in measure_texts([1, 10, 100]):
        print(point)

The texts are random words whose frequencies are as uneven as those of a language, written to a temporary folder. Each
is treated as by `tinygrad-llm train`: read once for its length and hash, encoded once into a file of ids, and read
through a memory map while training.
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
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.encoding import encode_once
from tinygrad_llm.text import BPETokenizer

MEGABYTE = 10**6
SMALLEST = 0.1  # MB; less would not fill the batches
BLOCK = MEGABYTE  # bytes of text that are generated at a time
WORDS = 5000
SKEW = 4  # of the word frequencies: the most frequent 1% of the words make a third of the text
VOCABULARY = 512
SAMPLE = 300_000  # characters that the tokenizer is trained on
STEPS = 20
ROOM = 2.5  # bytes on the disk per byte of text, for it and its ids


@dataclass
class TextPoint:
    """The measurements of one text. Units: bytes, seconds. Memory is the peak of the process, None where unknown.

    `encoding_memory` is the peak from the first reading to the last id; `training_memory` that of making and training
    the model, with the mapped ids that were read. `tokens_per_second` is the median over steps, each with the drawing
    of its batch.
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
    """Yields each size once it is measured. Temporary folders are removed, also after an error or interruption.

    Raises: ConfigError for a size that is too small, or too large for the disk
    """
    for size in megabytes:
        if not size >= SMALLEST:
            raise ConfigError(f"a text must have at least {SMALLEST} MB to be measured; got {size:g}")
    free, needed = shutil.disk_usage(tempfile.gettempdir()).free, ROOM * MEGABYTE * max(megabytes, default=0)
    if needed > free:
        raise ConfigError(
            f"a text of {max(megabytes):g} MB and its ids need {needed / 1e9:,.1f} GB in {tempfile.gettempdir()}; "
            f"{free / 1e9:,.1f} GB are free: choose a smaller one, or another folder by TMPDIR"
        )
    sample = "".join(random_text(SAMPLE, Generator(seed)))
    tokenizer = BPETokenizer.train(sample, VOCABULARY)
    workload = Workload(gpt_like_nanogpt(tokenizer.vocab_size, 64, 128, 4, 4), batch_size=12, steps=STEPS)
    for size in megabytes:
        with tempfile.TemporaryDirectory(prefix="tinygrad_llm_") as folder:
            path = Path(folder, "text.txt")
            progress(f"{size:g} MB: writing")
            with path.open("w", encoding="ascii") as file:
                file.writelines(random_text(round(size * MEGABYTE), Generator(seed)))
            yield _measured(path, tokenizer, workload, seed, _prefixed(f"{size:g} MB: ", progress))


def _prefixed(prefix: str, progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda status: progress(prefix + status)


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
    speed = workload.tokens / statistics.median(times[1:])  # the first step fills the buffers that later ones reuse
    return TextPoint(size, tokens, reading_seconds, encoding_seconds, encoding_memory, speed, mark.highest)


def random_text(size: int, generator: Generator) -> Iterator[str]:
    """Random words of `size` characters together, block by block: the whole text is never in memory."""
    letters = np.frombuffer(b"etaoinshrdlu", np.uint8)
    lengths = generator.randint(2, 11, (WORDS,))
    words = [letters[generator.randint(0, len(letters), (int(n),))].tobytes().decode() for n in lengths]
    words = [word + (" " if number % 12 else "\n") for number, word in enumerate(words)]
    while size > 0:
        chosen = (WORDS * generator.rand(BLOCK // 4) ** SKEW).astype(int)
        block = "".join([words[number] for number in chosen])[: min(size, BLOCK)]
        yield block
        size -= len(block)
