"""One random training run of one of the trainable models, small enough to take a second or two."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TEXT = "The quick brown fox jumps over the lazy dog, again and again.\nHow quickly daft jumping zebras vex!\n" * 40
WORDS = TEXT.lower().replace(",", "").replace(".", "").replace("!", "").split()[:20]
BPE = ["--tokenizer", "bpe", "--vocab-size", "280"]
BASES = {  # the pretrained models that fine-tuning starts from
    "base_gpt": ["train", "--preset", "nano", *BPE],
    "base_llama": ["train", "--architecture", "llama", *BPE],
    "base_bert": ["bert", "train", "--vocab-size", "280"],
}
BASE_SIZES = ["--context-length", "128", "--embedding-dim", "16", "--num-heads", "2", "--num-layers", "1"]
BASE_SIZES += ["--steps", "3", "--batch-size", "4", "--eval-batches", "1"]


@dataclass(frozen=True)
class Scenario:
    """The words of the command without --out, and the words that resume the run."""

    kind: str
    words: tuple[str, ...]
    processes: int = 1

    @property
    def workers(self) -> int:
        return int(self.words[self.words.index("--workers") + 1])

    def begin(self, out: Path) -> list[str]:
        return [*self.words, "--out", str(out)]

    def resume(self, out: Path) -> list[str]:
        command = self.words[: 1 if self.words[1].startswith("-") else 2]
        return [*command, "--resume", "--out", str(out), *self._keep()]

    def _keep(self) -> list[str]:
        return ["--keep", self.words[self.words.index("--keep") + 1]]


def write_data(folder: Path) -> None:
    """The files that the commands read."""
    dice = random.Random(0)
    (folder / "text.txt").write_text(TEXT)
    sentences = [" ".join(dice.choices(WORDS, k=dice.randint(1, 6))) for _ in range(60)]
    (folder / "pairs.tsv").write_text("".join(f"{text}\t{text[::-1]}\n" for text in sentences))
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, str(len(text) % 2)) for text in sentences)])
    records = [{"instruction": text, "input": "", "output": text.split()[0]} for text in sentences]
    (folder / "records.json").write_text(json.dumps(records))
    rated = [{**record, "chosen": record["output"], "rejected": "no"} for record in records]
    (folder / "rated.json").write_text(json.dumps(rated))


def draw(seed: int, folder: Path) -> Scenario:
    """The scenario of a seed: consecutive seeds go through all kinds. `folder` holds the data and the bases."""
    dice = random.Random(seed)
    kind = sorted(KINDS)[seed % len(KINDS)]
    words = [*KINDS[kind](dice, folder), *_training(dice)]
    if "--num-experts" in words and "--checkpoint-activations" in words:  # refused: their balance needs the activations
        words.remove("--checkpoint-activations")
    return Scenario(kind, tuple(words), 2 if kind == SHARED else 1)


def _training(dice: random.Random) -> list[str]:
    """Settings that every command has."""
    words = ["--steps", str(dice.randint(20, 90)), "--batch-size", str(dice.randint(1, 8))]
    words += ["--grad-accumulation", str(dice.choice([1, 1, 2, 3])), "--eval-interval", str(dice.randint(2, 12))]
    words += ["--eval-batches", str(dice.randint(1, 2)), "--keep", str(dice.randint(1, 3))]
    words += ["--learning-rate", f"{10 ** dice.uniform(-4, -2):.6f}", "--min-learning-rate", "0.00001"]
    words += ["--schedule", dice.choice(["cosine", "inverse_square_root"]), "--warmup-steps", str(dice.randint(0, 9))]
    words += ["--beta2", dice.choice(["0.9", "0.999"]), "--weight-decay", dice.choice(["0", "0.1"])]
    words += ["--grad-clip", dice.choice(["0", "1.0"]), "--seed", str(dice.randint(0, 999))]
    words += ["--workers", dice.choice(["1", "1", "2", "3"])]
    return words + _some(dice, "--checkpoint-activations", "--skip-bad-steps")


def _some(dice: random.Random, *flags: str) -> list[str]:
    """Each flag with probability 1/2."""
    return [flag for flag in flags if dice.random() < 0.5]


def _sizes(dice: random.Random) -> list[str]:
    heads = dice.choice([1, 2, 4])
    words = ["--num-layers", str(dice.randint(1, 2)), "--num-heads", str(heads)]
    words += ["--embedding-dim", str(heads * dice.choice([4, 6, 8])), "--context-length", str(dice.randint(8, 40))]
    return [*words, "--dropout", dice.choice(["0", "0.1", "0.3"])]


def _text(dice: random.Random, folder: Path) -> list[str]:
    words = ["train", "--data", str(folder / "text.txt"), *_sizes(dice)]
    words += dice.choice([["--tokenizer", "char"], ["--tokenizer", "words"], BPE])
    return words + _some(dice, "--tie-weights", "--qkv-bias")


def _gpt(dice: random.Random, folder: Path) -> list[str]:
    return [*_text(dice, folder), "--gelu", dice.choice(["tanh", "none"])]


def _llama(dice: random.Random, folder: Path) -> list[str]:
    words = [*_text(dice, folder), "--architecture", "llama", "--num-kv-heads", "1"]
    words += _some(dice, "--qk-norm", "--output-bias", "--norm-around-one", "--scale-embeddings")
    words += dice.choice([[], ["--window", str(dice.randint(1, 8))]])
    return words + dice.choice([[], ["--num-experts", "3", "--experts-per-token", str(dice.randint(1, 2))]])


def _bert(dice: random.Random, folder: Path) -> list[str]:
    words = ["bert", "train", "--data", str(folder / "text.txt"), *_sizes(dice)]
    return [*words, "--vocab-size", "270", "--mask-share", f"{dice.uniform(0.1, 0.6):.2f}"]


def _translate(dice: random.Random, folder: Path) -> list[str]:
    words = ["translate", "train", "--data", str(folder / "pairs.tsv"), *_sizes(dice), "--context-length", "60"]
    words += dice.choice([["--tokenizer", "char"], BPE])
    return [*words, "--label-smoothing", dice.choice(["0", "0.1"])]


def _classify(dice: random.Random, folder: Path) -> list[str]:
    base = dice.choice(["base_gpt", "base_llama", "base_bert"])
    words = ["classify", "train", "--model", str(folder / base), "--data", str(folder / "labels.csv")]
    words += ["--trainable", dice.choice(["head", "last_block", "all"]), "--pooling", dice.choice(["first", "mean"])]
    return words + _some(dice, "--no-balance")


def _instruct(dice: random.Random, folder: Path) -> list[str]:
    base = dice.choice(["base_gpt", "base_llama"])
    words = ["instruct", "train", "--model", str(folder / base), "--data", str(folder / "records.json")]
    words += ["--lora-rank", str(dice.choice([0, 0, 2])), "--test-records", "2", "--max-new-tokens", "3"]
    return words + _some(dice, "--no-mask-instructions")


def _prefer(dice: random.Random, folder: Path) -> list[str]:
    base = dice.choice(["base_gpt", "base_llama"])
    words = ["prefer", "train", "--model", str(folder / base), "--data", str(folder / "rated.json")]
    return [*words, "--beta", f"{dice.uniform(0.05, 0.5):.3f}", *_some(dice, "--no-average")]


SHARED = "gpt in two processes"
KINDS: dict[str, Callable[[random.Random, Path], list[str]]] = {
    "gpt": _gpt,
    SHARED: _gpt,
    "llama": _llama,
    "bert": _bert,
    "translate": _translate,
    "classify": _classify,
    "instruct": _instruct,
    "prefer": _prefer,
}
