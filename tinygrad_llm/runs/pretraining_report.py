"""What `train` prints besides its progress: the model before, samples of its text, and its validation loss after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.architectures import architecture_of
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.generate.starting import ids_if_known
from tinygrad_llm.runs.encoding import EncodedText
from tinygrad_llm.runs.hints import command
from tinygrad_llm.runs.life_cycle import Report, sharing
from tinygrad_llm.runs.progress import StatusLine
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train.evaluation import bits_per_byte, perplexity
from tinygrad_llm.train.trainer import Callback, Trainer

FINAL_EVALUATION_BATCHES = 200  # enough for two digits of the loss, and independent of the length of the text
SAMPLE_TOKENS = 100
SAMPLE_PROMPTS = ("\n\nThe", "\n")  # the first that the tokenizer knows: a paragraph, else a line
SAMPLING = Sampling(temperature=0.8, top_k=50)


class Sampler(Callback):
    """Prints generated text every `sample_interval` steps, with its own random generator.

    An error while generating is printed and never ends the training.
    """

    def __init__(self, tokenizer: Tokenizer, status: StatusLine) -> None:
        self.tokenizer, self.status = tokenizer, status

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        interval = trainer.settings.sample_interval
        if interval and record["step"] % interval == 0 and record["step"] < trainer.settings.steps:
            self.status.say(f"  {self.sample(trainer)!r}")

    def sample(self, trainer: Trainer) -> str:
        """Generated text, or the error message if generating fails."""
        known = (ids_if_known(self.tokenizer, beginning) for beginning in SAMPLE_PROMPTS)
        prompt = next(filter(None, known), [0])
        try:
            model: Any = trainer.model
            ids = generate(model, np.array(prompt), SAMPLE_TOKENS, SAMPLING, generator=trainer.generators["sampling"])
            return self.tokenizer.decode(ids).strip("\n")
        except Exception as error:
            return f"no sample: {error}"


@dataclass
class PretrainingReport(Report):
    """Prints what `train` says before and after the training."""

    out: Path
    model: Any
    loader: WindowLoader
    encoded: EncodedText
    reversible: bool
    sampler: Sampler
    status: StatusLine

    def introduce(self, trainer: Trainer) -> None:
        config, settings, rows = self.model.config, trainer.settings, self.loader.rows_per_batch
        tokens = settings.steps * rows * settings.grad_accumulation * config.context_length
        self.status.say(
            f"{architecture_of(self.model).words} of {self.model.num_parameters():,} parameters "
            f"({_counted(config.num_layers, 'layer')}, {_counted(config.num_heads, 'head')}, "
            f"{config.embedding_dim} wide, context {config.context_length}); "
            f"{_counted(settings.steps, 'step')}, {_counted(tokens, 'token')}"
        )
        if rows < settings.batch_size:
            self.status.say(f"the text has only {rows} windows: batches have {rows} rows, not {settings.batch_size:,}")
        if trainer.processes > 1:
            self.status.say(sharing(trainer, rows))
        if trainer.step:
            self.status.say(f"continuing after step {trainer.step}")

    def after(self, trainer: Trainer) -> None:
        self.status.say(f"\na sample of generated text:\n{self.sampler.sample(trainer)}\n")
        with self.status.working("evaluating"):
            loss = trainer.evaluate(FINAL_EVALUATION_BATCHES)
        if not math.isfinite(loss):
            self.status.say(f"the validation loss is not finite: {loss}; the run's checkpoints before it may be better")
            return
        bits = bits_per_byte(loss, len(self.encoded.validation), self.encoded.validation_bytes)
        per_byte = f", {bits:.3f} bits per byte" if self.reversible else ""
        self.status.say(f"validation loss {loss:.4f} nats per token (perplexity {perplexity(loss):,.1f}){per_byte}")

    def suggest(self) -> None:
        prompt = ["The "] if ids_if_known(self.sampler.tokenizer, "The ") else []
        words = ["generate", "--model", self.out, *(["--prompt", *prompt] if prompt else [])]
        self.status.hint("generate text", command(*words))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + "s" * (count != 1)
