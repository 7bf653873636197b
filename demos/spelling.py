# %% [markdown]
# # A GPT corrects spelling: words in context, and words that no dictionary has
#
# A spelling corrector guesses what the writer meant (Kernighan, Church and Gale 1990, "the noisy channel"):
#
#     the best candidate maximises  P(candidate) · P(what was typed | candidate)
#
# A dictionary knows P(candidate) from the frequency of words alone. That is enough for most typos, but it cannot see
# that "form" should be "from", since both are words, and cannot propose a word that it does not have. A GPT gives the
# probability of the whole sentence. With it, the same rule corrects real words in the wrong place, and new words whose
# parts are known, such as "sourceless". Its price is false alarms: right sentences that it finds improbable.
#
# The text is the prose in Python's documentation and in the docstrings of its library, in lower case. It takes about
# a minute; `--full` trains three models for longer, in about five minutes of one core.

# %%
import argparse
import math
import re
import statistics
import sysconfig
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tinygrad_llm import Generator, manual_seed, no_grad
from tinygrad_llm.data import WindowBatches, WindowLoader, pad_right
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import BPETokenizer, corpora
from tinygrad_llm.train import Trainer, TrainingSettings, duration, evaluate

end_quietly()

options = argparse.ArgumentParser(description="A GPT and a dictionary correct spelling.")
options.add_argument(
    "--full", action="store_true", help="three models, trained for longer, and more sentences to judge"
)
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
started = time.monotonic()
SEEDS, STEPS, JUDGED = ((0, 1, 2), 500, 100) if full else ((0,), 150, 20)

# %% [markdown]
# ## The text and the dictionary
#
# 500 sentences are held out. The dictionary has the words of all others, with their frequencies. As in Norvig's "How to
# write a spelling corrector" (norvig.com/spell-correct.html) it leaves known words alone, and replaces an unknown word
# by the most frequent known word at distance 1: a letter left out, added, replaced, or exchanged with the next (Damerau
# 1964).

# %%
print("== 1 Text ==")
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
library = Path(sysconfig.get_path("stdlib"))
sources = [
    path.read_text("utf-8", "replace") for path in sorted(library.glob("**/*.py")) if "site-packages" not in str(path)
]
docstrings = [found for source in sources for found in re.findall(r'"""(.*?)"""', source, re.DOTALL)]
paragraphs = re.split(r"\n\s*\n", "\n\n".join([corpora.python_docs(), *docstrings]))
lines = [line for one in paragraphs for line in re.split(r"(?<=[.:;?!])\s+", " ".join(one.split()))]
sentences = [line.lower() for line in lines if len(line) > 20 and sum(map(str.isalpha, line)) > 0.75 * len(line)]
sentences = list(dict.fromkeys(sentences))
plain = [line for line in sentences if re.fullmatch(r"[a-z ,]{25,60}\.", line)]
held_out = [plain[i] for i in Generator(0).randperm(len(plain))[:500]]
known_sentences = sorted(set(sentences) - set(held_out))


def all_words(sentence: str) -> list[str]:
    return re.findall(r"[a-z]+", sentence)


frequency = Counter(word for line in known_sentences for word in all_words(line))
dictionary = {word for word, count in frequency.items() if count >= 2}
print(f"{len(known_sentences):,} sentences, {sum(frequency.values()):,} words; dictionary: {len(dictionary):,} words")


def edits(word: str) -> list[str]:
    """Every string at distance 1 from `word`."""
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    deleted = [a + b[1:] for a, b in splits if b]
    exchanged = [a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1]
    replaced = [a + letter + b[1:] for a, b in splits if b for letter in ALPHABET]
    added = [a + letter + b for a, b in splits for letter in ALPHABET]
    return sorted(set(deleted + exchanged + replaced + added) - {word})


def corrected_by_dictionary(sentence: str) -> str:
    """Each unknown word replaced by the most frequent known word at distance 1, if there is one."""

    def correct(found: re.Match[str]) -> str:
        word = found[0]
        near = [other for other in edits(word) if other in dictionary]
        return word if word in dictionary or not near else max(near, key=lambda other: frequency[other])

    return re.sub(r"[a-z]+", correct, sentence)


# %% [markdown]
# ## What is judged
#
# Four kinds of held-out sentences: with a typo that makes no word; with one that makes another word of the
# dictionary; with a typo in a word that the dictionary does not have; and without any. A sentence counts as right if
# it comes out as it was before the typo.


# %%
def with_typo(sentence: str, draw: Generator, kind: str) -> str | None:
    """The sentence with one typo of this kind; None where no word of it can have one."""
    words = list(re.finditer(r"[a-z]+", sentence))
    unknown = [found for found in words if found[0] not in dictionary]
    if len(unknown) != (kind == "unknown word"):
        return None
    if kind == "no typo":
        return sentence
    for place in draw.randperm(len(words)).tolist():
        found = unknown[0] if unknown else words[place]
        if len(found[0]) >= 3:
            typos = [typo for typo in edits(found[0]) if (typo in dictionary) == (kind == "real word")]
            if typos:
                typo = typos[int(draw.randint(0, len(typos)))]
                return sentence[: found.start()] + typo + sentence[found.end() :]
    return None


KINDS = ("typo", "real word", "unknown word", "no typo")
tests: dict[str, list[tuple[str, str]]] = {}
for kind in KINDS:
    draw = Generator(1)
    typed = [(with_typo(sentence, draw, kind), sentence) for sentence in held_out]
    tests[kind] = [pair for pair in typed if pair[0] is not None][:JUDGED]
    print(f"  {kind + ':':<14}{tests[kind][0][0]}")

# %% [markdown]
# ## The language model
#
# A small GPT, trained on the same sentences, one after the other, with a newline between them.

# %%
print("\n== 2 Language model ==")
tokenizer = BPETokenizer.train(known_sentences, 1024)
newline = tokenizer.encode_ordinary("\n")
known_ids, held_out_ids = (
    np.array([token for line in part for token in [*newline, *tokenizer.encode_ordinary(line)]])
    for part in (known_sentences, held_out)
)
batches = WindowBatches(held_out_ids, 48, 32)
held_out_batches = [batches[i] for i in range(len(batches))]


def new_model(seed: int) -> GPT:
    manual_seed(seed)
    model = GPT(
        GPTConfig(tokenizer.vocab_size, 64, 128, num_heads=4, num_layers=3, dropout=0.1, tie_weights=True), init="gpt2"
    )
    settings = TrainingSettings(
        steps=STEPS, learning_rate=3e-3, min_learning_rate=2e-4, warmup_steps=50, eval_interval=0, workers=1, seed=seed
    )
    begun = time.monotonic()
    Trainer(model, WindowLoader(known_ids, 48, 32, Generator(seed)), settings).train()
    model.eval()
    judged = evaluate(model, held_out_batches)
    print(
        f"seed {seed}: {model.num_parameters():,} parameters, {STEPS} steps in {duration(time.monotonic() - begun)}; ",
        end="",
    )
    print(f"held-out loss {judged:.3f} nats per token", flush=True)
    return model


# %% [markdown]
# ## The noisy channel
#
# An unknown word with known words at distance 1 is taken to be one of them, as by the dictionary. Where there is none,
# each word of the sentence may be what was meant, or have been meant as another: a known word as a known one at
# distance 1, an unknown word as any string. Half of the sentences are taken to have a typo, all typos equally probable.


# %%
@no_grad()
def log_probabilities(model: GPT, candidates: list[str]) -> np.ndarray:
    """ln P of each sentence. Shapes: -> (len(candidates),)"""
    rows = [[*newline, *tokenizer.encode_ordinary(line), *newline][:64] for line in candidates]
    order, found = np.argsort([len(row) for row in rows]), np.empty(len(rows))
    for start in range(0, len(rows), 128):
        places = order[start : start + 128]
        part = [rows[place] for place in places]
        ids = pad_right(part, max(map(len, part)), 0)
        targets = np.where(np.arange(ids.shape[1]) < [[len(row)] for row in part], ids, -100)[:, 1:]
        losses = cross_entropy(model(ids[:, :-1]), targets, reduction="none").data
        found[places] = -losses.sum(axis=1)
    return found


def corrected_by_model(model: GPT, sentence: str) -> str:
    """The candidate with the largest P(sentence) · P(typed | sentence)."""
    words = list(re.finditer(r"[a-z]+", sentence))
    known = {found: [other for other in edits(found[0]) if other in dictionary] for found in words}
    wrong = [found for found in words if found[0] not in dictionary and known[found]]
    candidates, channel = [sentence], [-math.inf if wrong else 0.0]
    for found in wrong or words:
        for meant in known[found] if known[found] or found[0] in dictionary else edits(found[0]):
            candidates.append(sentence[: found.start()] + meant + sentence[found.end() :])
            channel.append(-math.log(len(words) * (54 * len(meant) + 25)))
    return candidates[int(np.argmax(log_probabilities(model, candidates) + channel))]


# %%
shares: dict[str, list[float]] = {kind: [] for kind in KINDS}
shown: dict[str, list[str]] = {}
for seed in SEEDS:
    model = new_model(seed)
    for kind, pairs in tests.items():
        answers = [corrected_by_model(model, typed) for typed, _ in pairs]
        shares[kind].append(np.mean([answer == meant for answer, (_, meant) in zip(answers, pairs, strict=True)]))
        shown[kind] = answers
    print("  right: " + ", ".join(f"{kind} {found[-1]:.1%}" for kind, found in shares.items()), flush=True)

print("\n== 3 Sentences that come out right ==")
print(f"{'':<16}{'dictionary':>12}{'GPT':>9}")
for kind, pairs in tests.items():
    answers = [corrected_by_dictionary(typed) for typed, _ in pairs]
    right = np.mean([answer == meant for answer, (_, meant) in zip(answers, pairs, strict=True)])
    spread = f" ± {statistics.stdev(shares[kind]):.1%}" if len(SEEDS) > 1 else ""
    print(f"{kind:<16}{right:>12.1%}{statistics.mean(shares[kind]):>9.1%}{spread} of {len(pairs)}")

print("\n== 4 Examples ==")
for kind in KINDS[:3]:
    for (typed, meant), answer in list(zip(tests[kind], shown[kind], strict=True))[:5]:
        mark = "right" if answer == meant else f"should be: {meant}"
        print(f"  {typed}\n    {answer}  ({mark})")

print(f"\n{duration(time.monotonic() - started)} in all")
