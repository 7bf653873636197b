# %% [markdown]
# # The first Transformer translates sentences
#
# The Transformer was introduced for translation (Vaswani et al. 2017): an encoder reads the source, a decoder
# generates the target, and cross-attention finds, for each word to be generated, the source words that it depends on.
# GPT is the decoder alone, BERT the encoder alone.
#
# The task is English sentences to German ones, from a grammar. No word can be translated alone: *the* is *der*, *die*,
# *das*, *den* or *dem*, adjectives agree with gender, number and case, and verbs move: *picks up the ball* is *hebt den
# Ball auf*, but *because she has picked it up* ends with *aufgehoben hat*. One combination in eight of an adjective and
# a noun, or of a verb and its object, is held out of training; each sentence to be judged has one or more of those.
#
# The measures are exact match and BLEU. The baseline is a dictionary, learned from the same pairs by IBM's Model 1
# (Brown et al. 1993), that translates word by word. It takes about half a minute; `--full` trains two models for
# longer, in about five minutes of one core.

# %%
import argparse
import re
import statistics
import time
from collections import Counter, defaultdict

import numpy as np

from tinygrad_llm import Generator, manual_seed
from tinygrad_llm.data import DataLoader, TranslationDataset, collate_translation, sentence_pairs
from tinygrad_llm.finetune import bleu
from tinygrad_llm.generate import beam_search, translate
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.study import align
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import ProgressLog, Trainer, TrainingSettings, duration, evaluate

end_quietly()

options = argparse.ArgumentParser(description="An encoder-decoder learns to translate English sentences to German.")
options.add_argument("--full", action="store_true", help="train two models for longer")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
started = time.monotonic()
SEEDS, STEPS, BATCH, PAIRS, JUDGED = ((0, 1), 2000, 64, 30_000, 1000) if full else ((0,), 500, 32, 6000, 200)

# %% [markdown]
# ## The data
#
# One tokenizer serves both languages, so that one table is the embedding of both and the output head.

# %%
print("== 1 Data ==")
training, held_out = sentence_pairs(PAIRS, Generator(1)), sentence_pairs(JUDGED, Generator(2), held_out=True)
for pair in training[:4]:
    print(f"{pair.source}\n    {pair.target}")
print(f"sentences both trained on and held out: {len(set(training) & set(held_out))}")
sources, targets = [pair.source for pair in held_out], [pair.target for pair in held_out]
tokenizer = BPETokenizer.train([text for pair in training[:3000] for text in pair], vocab_size=1024)
end = tokenizer.end_of_text
pieces = [tokenizer.decode([token]) for token in tokenizer.encode_ordinary(targets[0])]
print(f"{tokenizer.vocab_size} tokens; as tokens: {' | '.join(pieces)}")

# %% [markdown]
# ## A dictionary
#
# IBM's Model 1 assumes that each target word comes from one source word, each equally probable. Expectation
# maximisation alternates: with the present probabilities of translations it counts which source word each target word
# came from, in fractions, and the counts give new probabilities. Nobody says which words belong together.

# %%
print("\n== 2 Word by word ==")


def tokens_of(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def learned_dictionary(pairs: list, rounds: int = 5) -> dict[str, str]:
    """The most probable translation of each source word (Brown et al. 1993, aclanthology.org/J93-2003, Model 1)."""
    probability: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(lambda: 1.0))
    for _ in range(rounds):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for pair in pairs:
            source = tokens_of(pair.source)
            for target_word in tokens_of(pair.target):
                shares = [probability[word][target_word] for word in source]
                for word, share in zip(source, shares, strict=True):
                    counts[word][target_word] += share / sum(shares)
        probability = {word: {t: n / found.total() for t, n in found.items()} for word, found in counts.items()}
    return {word: max(found, key=found.__getitem__) for word, found in probability.items()}


def word_by_word(dictionary: dict[str, str], text: str) -> str:
    return re.sub(r" ([.,])", r"\1", " ".join(dictionary.get(word, word) for word in tokens_of(text)))


def show_scores(name: str, written: list[str]) -> tuple[float, float]:
    """Exact match and BLEU, printed and returned."""
    scores = float(np.mean([a == b for a, b in zip(written, targets, strict=True)])), bleu(written, targets)
    print(f"{name}: exact match {scores[0]:.1%}, BLEU {100 * scores[1]:.1f}, of {len(targets)} held-out sentences")
    return scores


dictionary = learned_dictionary(training[:5000])
print(", ".join(f"{word} -> {dictionary[word]}" for word in ("the", "dog", "carries", "not", "because")))
by_dictionary = [word_by_word(dictionary, source) for source in sources]
print(f"{sources[0]}\n    {by_dictionary[0]}\n    should be: {targets[0]}")
show_scores("dictionary", by_dictionary)

# %% [markdown]
# ## The model
#
# The blocks are those of GPT in the paper's arrangement: layer normalization after each sum, sinusoidal positions,
# ReLU. The encoder's attention sees the whole source, the decoder's only the past, and between its two parts each
# decoder block attends to the output of the encoder. Label smoothing of 0.1, as in the paper, raises the training loss
# and makes the model less overconfident; the validation loss is measured without it.

# %%
print("\n== 3 Training ==")


def trained_model(seed: int) -> EncoderDecoder:
    manual_seed(seed)
    config = EncoderDecoderConfig(
        tokenizer.vocab_size, context_length=64, embedding_dim=64, num_heads=4, num_layers=2, dropout=0.0
    )
    model = EncoderDecoder(config)
    settings = TrainingSettings(
        steps=STEPS,
        batch_size=BATCH,
        learning_rate=4e-3,
        min_learning_rate=1e-4,
        warmup_steps=100,
        beta2=0.98,
        weight_decay=0.01,
        eval_interval=STEPS // 4,
        workers=1,
        seed=seed,
    )
    datasets = [TranslationDataset(pairs, tokenizer, end) for pairs in (training, held_out)]
    loader = DataLoader(datasets[0], BATCH, shuffle=True, collate_fn=collate_translation, generator=Generator(seed))
    validation = list(DataLoader(datasets[1], 100, collate_fn=collate_translation, generator=Generator(0)))
    before = evaluate(model, validation)
    Trainer(model, loader, settings, validation[:5], callbacks=[ProgressLog()]).train()
    model.eval()
    print(f"seed {seed}: {model.num_parameters():,} parameters; held-out loss {before:.3f} -> ", end="")
    print(f"{evaluate(model, validation):.4f} nats per token")
    return model


scores = []
for seed in SEEDS:
    model = trained_model(seed)
    written = translate(model, tokenizer, sources)
    scores.append(show_scores("Transformer", written))

# %% [markdown]
# ## Held-out sentences

# %%
print("\n== 4 Translation ==")
if len(SEEDS) > 1:
    exact, words = zip(*scores, strict=True)
    print(f"{len(SEEDS)} seeds: exact match {statistics.mean(exact):.1%} ± {statistics.stdev(exact):.1%}, ", end="")
    print(f"BLEU {100 * statistics.mean(words):.1f} ± {100 * statistics.stdev(words):.1f}")
wrong = [place for place, text in enumerate(written) if text != targets[place]]
for place in wrong[:5]:
    print(f"  wrong: {sources[place]}\n    written   {written[place]}\n    should be {targets[place]}")
by_beam = translate(model, tokenizer, [sources[place] for place in wrong[:10]], num_beams=4)
saved = sum(text == targets[place] for place, text in zip(wrong[:10], by_beam, strict=True))
print(f"beam search with 4 beams corrects {saved} of {len(wrong[:10])} wrong ones")

# %% [markdown]
# Beam search keeps several partial texts, so it also shows what else the model found probable. Both searches cache
# the keys and values of the text so far and of the encoder's output; without these caches the result is the same and
# takes longer.

# %%
example = np.array([[*tokenizer.encode_ordinary(sources[0]), end]])
for beam in beam_search(
    model.conditioned_on(example), np.array([end]), 60, num_beams=3, length_penalty=1.0, eos_id=end
):
    print(f"  {beam.score:8.4f} nats per token: {tokenizer.decode(beam.ids[1:])}")
times = []
for use_cache in (True, False):
    begun = time.monotonic()
    texts = translate(model, tokenizer, sources[:100], use_cache=use_cache)
    times.append(time.monotonic() - begun)
    assert texts == written[:100]
print(f"100 sentences with the caches {times[0]:.2f}s, without {times[1]:.2f}s, the same texts")

# %% [markdown]
# ## Cross-attention
#
# Nothing in the training says which words belong together. Each row below is a target word about to be generated, each
# column a source word; the darker a cell, the larger its attention weight. Where German changes the order, the dark
# cells leave the diagonal: the prefix *auf* at the end looks back at *picks up*.

# %%
print("\n== 5 Alignment ==")
for source in ("The small child picks up the ball.", "I know that the old sister has found her key."):
    translation = translate(model, tokenizer, [source])[0]
    alignment = align(model, tokenizer, source, translation)
    print(f"{source} -> {translation}")
    print(f"layer {alignment.sharpest_layer + 1} of 2, the sharper one:\n{alignment.picture()}\n")

print(f"{duration(time.monotonic() - started)} in all")
