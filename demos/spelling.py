# %% [markdown]
# # An encoder-decoder corrects spelling
#
# Any task that maps one text to another can be learned as a translation. Here the source is a word with a typo and
# the target the correct word, both as characters. Typos are made from words of Python's own documentation, so there
# are as many pairs as needed.
#
# The model is tested on new typos of words that it was trained on, and on words that it has never seen, where it can
# rely only on the patterns of English spelling. The baseline is a dictionary of the training words that returns the
# word at the smallest edit distance. It takes about a minute; `--full` trains for longer.

# %%
import argparse
import re
import time
from collections import Counter

import numpy as np

from tinygrad_llm import Generator, manual_seed
from tinygrad_llm.data import DataLoader, Pair, TranslationDataset, collate_translation
from tinygrad_llm.generate import translate
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import END_OF_TEXT, CharTokenizer, corpora
from tinygrad_llm.train import ProgressLog, Trainer, TrainingSettings, duration

end_quietly()

options = argparse.ArgumentParser(description="An encoder-decoder learns to correct spelling.")
options.add_argument("--full", action="store_true", help="train a larger model for longer")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
started = time.monotonic()

# %% [markdown]
# ## Words and typos
#
# A typo is one of the four most frequent errors (Damerau 1964): a missing letter, an extra letter, two letters
# exchanged, or a neighbouring key. One word in five has no typo, because a corrector must also leave correct words
# alone.

# %%
print("== 1 Words and typos ==")
counts = Counter(re.findall(r"\b[a-z]{5,11}\b", corpora.load_text("python-docs")))
words = sorted(word for word, count in counts.items() if count >= 3)
order = Generator(1).randperm(len(words))
held_out_words = [words[i] for i in order[:200]]
known_words = sorted(set(counts) - set(held_out_words))
print(f"{len(counts):,} words of 5 to 11 letters; of the {len(words):,} that occur 3 times or more 200 are held out")

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS = {
    letter: "".join(row[max(place - 1, 0) : place] + row[place + 1 : place + 2])
    for row in KEYBOARD
    for place, letter in enumerate(row)
}


def with_typo(word: str, draw: Generator) -> str:
    """`word` with one typo; the result may be another word, or the same one where equal letters are exchanged."""
    slip, place, which = int(draw.randint(0, 4)), int(draw.randint(0, len(word) - 1)), int(draw.randint(0, 2))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    near = NEIGHBOURS[letter][which % len(NEIGHBOURS[letter])]
    return before + ("", letter + (letter, near)[which], after[:1] + letter, near)[slip] + after[slip == 2 :]


def typos(words: list[str], count: int, seed: int, right: bool = True) -> list[Pair]:
    """Pairs of a typo and its word; with `right`, one word in five has no typo."""
    draw = Generator(seed)
    chosen = draw.randint(0, len(words), (count,)).tolist()
    pairs = []
    for i, place in enumerate(chosen):
        pairs.append(Pair(words[place] if right and i % 5 == 0 else with_typo(words[place], draw), words[place]))
    return pairs


steps, batch_size = (6000, 64) if full else (1000, 48)
training = typos(known_words, steps * batch_size, seed=2)
trained_on = set(training)
known = [p for p in typos(known_words, 1500, 3, right=False) if p not in trained_on and p.source != p.target][:200]
unseen = [pair for pair in typos(held_out_words, 300, 4, right=False) if pair.source != pair.target][:200]
correct = [Pair(word, word) for word in held_out_words]
for pair in training[:6]:
    print(f"  {pair.source} -> {pair.target}")
print(f"to judge: {len(known)} new typos of known words, {len(unseen)} of words held out, {len(correct)} right words")

# %% [markdown]
# ## Training

# %%
print("\n== 2 Training ==")
tokenizer = CharTokenizer("abcdefghijklmnopqrstuvwxyz", [END_OF_TEXT])
end = tokenizer.special_tokens[END_OF_TEXT]
manual_seed(123)
model = EncoderDecoder(
    EncoderDecoderConfig(
        tokenizer.vocab_size,
        context_length=16,
        embedding_dim=128 if full else 64,
        num_heads=4,
        num_layers=2,
        dropout=0.0,
    )
)
settings = TrainingSettings(
    steps=steps,
    batch_size=batch_size,
    learning_rate=2e-3 if full else 4e-3,
    min_learning_rate=1e-4,
    warmup_steps=100,
    beta2=0.98,
    weight_decay=0.01,
    eval_interval=steps // 3,
)
shuffling, in_order = Generator(5), Generator(0)
dataset, judging = (TranslationDataset(pairs, tokenizer, end) for pairs in (training, known + unseen))
loader = DataLoader(dataset, batch_size, shuffle=True, collate_fn=collate_translation, generator=shuffling)
validation = list(DataLoader(judging, 100, collate_fn=collate_translation, generator=in_order))
print(f"{model.num_parameters():,} parameters")
Trainer(model, loader, settings, validation, callbacks=[ProgressLog()]).train()
model.eval()

# %% [markdown]
# ## Comparison with a dictionary
#
# The dictionary has the words that the model was trained on. Among several words at the same distance it takes the
# most frequent one. It cannot return a word that it does not have.


# %%
def distance(a: str, b: str) -> int:
    """The Damerau edit distance: letters left out, added, replaced, or exchanged with the next."""
    above, row = list(range(len(b) + 1)), list(range(len(b) + 1))
    for i, letter in enumerate(a):
        last, above, row = above, row, [i + 1]
        for j, other in enumerate(b):
            best = min(above[j + 1] + 1, row[j] + 1, above[j] + (letter != other))
            if i and j and letter == b[j - 1] and a[i - 1] == other:
                best = min(best, last[j - 1] + 1)
            row.append(best)
    return row[-1]


def nearest(typo: str) -> str:
    """The dictionary's word at the smallest distance, the most frequent of several."""
    near = [word for word in known_words if abs(len(word) - len(typo)) <= 1]
    return min(near, key=lambda word: (distance(typo, word), -counts[word]))


print("\n== 3 Correction ==")
print(f"{'':<32}{'model':>8}{'beams':>8}{'dictionary':>12}")
for name, pairs in (
    ("new typos of known words", known),
    ("typos of words held out", unseen),
    ("right words held out", correct),
):
    sources = [pair.source for pair in pairs]
    answers = [
        translate(model, tokenizer, sources),
        translate(model, tokenizer, sources[:100], num_beams=4),
        [nearest(source) for source in sources[:50]],
    ]
    shares = [np.mean([a == p.target for a, p in zip(answer, pairs, strict=False)]) for answer in answers]
    print(f"{name:<32}{shares[0]:>8.1%}{shares[1]:>8.1%}{shares[2]:>12.1%}")
    if name != "right words held out":
        for source, answer, pair in list(zip(sources, answers[0], pairs, strict=True))[:4]:
            print(f"    {source} -> {answer}" + ("" if answer == pair.target else f"   (should be: {pair.target})"))
print("(the model on all of them, with 4 beams on 100 of each, the dictionary on 50 of each)")

print(f"\n{duration(time.monotonic() - started)} in all")
