# %% [markdown]
# # The first Transformer translates numbers
#
# The Transformer was introduced for translation (Vaswani et al. 2017): an encoder reads the source, a decoder
# generates the target, and cross-attention finds, for each word to be generated, the source words that it depends on.
# GPT is the decoder alone, BERT the encoder alone.
#
# The task is small enough to check exactly and too large to memorize: the numbers from 0 to 999,999 in English and
# French words. French has irregular rules: 71 is *soixante et onze* (sixty and eleven), 80 is *quatre-vingts* (four
# twenties) but 81 *quatre-vingt-un*, 200 *deux cents* but 201 *deux cent un*, and *mille* never has a plural.
#
# One number in ten is held out; the measure is the share of those translated without a single wrong letter (exact
# match). It takes about half a minute; `--full` trains a larger model for several minutes.

# %%
import argparse
import time

import numpy as np

from tinygrad_llm import Generator, manual_seed, no_grad
from tinygrad_llm.arrays import Array
from tinygrad_llm.data import DataLoader, NumberPairs, TranslationDataset, collate_translation, french_words
from tinygrad_llm.generate import beam_search, translate
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.nn.module import Module
from tinygrad_llm.ops.attention import attention_weights
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import ProgressLog, Trainer, TrainingSettings, duration, evaluate

end_quietly()

options = argparse.ArgumentParser(description="An encoder-decoder learns to say numbers in French.")
options.add_argument("--full", action="store_true", help="train a larger model for longer")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
started = time.monotonic()

# %% [markdown]
# ## The data
#
# Pairs are generated as needed. One tokenizer serves both languages, so that one table is the embedding of both and
# the output head.

# %%
print("== 1 Data ==")
steps, batch_size, judged = (3000, 64, 5000) if full else (800, 32, 500)
training, held_out = NumberPairs(steps * batch_size, seed=1), NumberPairs(judged, held_out=True, seed=2)
for i in range(4):
    print(f"{training[i].source}  ->  {training[i].target}")
print(f"numbers both trained on and held out: {len(np.intersect1d(training.numbers, held_out.numbers))}")
tokenizer = BPETokenizer.train([text for i in range(3000) for text in training[i]], vocab_size=384)
end = tokenizer.end_of_text
assert end is not None
words = [tokenizer.decode([token]) for token in tokenizer.encode_ordinary(held_out[0].target)]
print(f"{tokenizer.vocab_size} tokens; as tokens: {' | '.join(words)}")

# %% [markdown]
# ## The model
#
# The blocks are those of GPT in the paper's arrangement: layer normalization after each sum, sinusoidal positions,
# ReLU. The encoder's attention sees the whole source, the decoder's only the past, and between its two parts each
# decoder block attends to the output of the encoder.

# %%
print("\n== 2 Model ==")
manual_seed(123)
width = 128 if full else 64
model = EncoderDecoder(
    EncoderDecoderConfig(
        tokenizer.vocab_size, context_length=48, embedding_dim=width, num_heads=4, num_layers=2, dropout=0.0
    )
)
print(f"{model.num_parameters():,} parameters, of which {model.token_embedding.num_parameters():,} embed")
print(f"a block of the decoder: {', '.join(name for name, _ in model.decoder[0].named_children())}")

# %% [markdown]
# ## Training
#
# The paper's recipe: a linear warm-up, then a rate that falls with the square root of the step, and label smoothing
# of 0.1, which raises the training loss and makes the model less overconfident. The validation loss is measured
# without smoothing.

# %%
print("\n== 3 Training ==")
settings = TrainingSettings(
    steps=steps,
    batch_size=batch_size,
    learning_rate=3e-3 if not full else 2e-3,
    schedule="inverse_square_root",
    warmup_steps=150,
    beta2=0.98,
    weight_decay=0.01,
    eval_interval=steps // 4,
)
loader = DataLoader(
    TranslationDataset(training, tokenizer, end),
    batch_size,
    shuffle=True,
    collate_fn=collate_translation,
    generator=Generator(3),
)
judging = TranslationDataset(held_out, tokenizer, end)
validation = list(DataLoader(judging, 100, collate_fn=collate_translation, generator=Generator(0)))
before = evaluate(model, validation)
Trainer(model, loader, settings, validation[:5], callbacks=[ProgressLog()]).train()
model.eval()
print(f"held-out loss: {before:.3f} -> {evaluate(model, validation):.4f} nats per token")

# %% [markdown]
# ## Held-out numbers

# %%
print("\n== 4 Translation ==")
pairs = [held_out[i] for i in range(judged)]
begun = time.monotonic()
written = translate(model, tokenizer, [pair.source for pair in pairs])
took = time.monotonic() - begun
right = [text == pair.target for text, pair in zip(written, pairs, strict=True)]
print(f"exact match: {np.mean(right):.2%} of {judged} held-out numbers, greedily, in {took:.1f}s")
wrong = [place for place in range(judged) if not right[place]]
for place in wrong[:5]:
    print(f"  wrong: {pairs[place].source}\n    written   {written[place]}\n    should be {pairs[place].target}")
few = [*wrong[:10], *range(40)]
by_beam = translate(model, tokenizer, [pairs[place].source for place in few], num_beams=4)
saved = sum(text == pairs[place].target for place, text in zip(wrong[:10], by_beam, strict=False))
same = sum(text == written[place] for place, text in zip(few[-40:], by_beam[-40:], strict=True))
print(f"beam search with 4 beams corrects {saved} of {len(wrong[:10])} wrong ones; 40 others: {same} as before")

# %% [markdown]
# Beam search keeps several partial texts, so it also shows what else the model found probable. Both searches cache
# the keys and values of the text so far and of the encoder's output; without these caches the result is the same and
# takes longer.

# %%
ids = np.array([[*tokenizer.encode_ordinary(pairs[0].source), end]])
for beam in beam_search(model.conditioned_on(ids), np.array([end]), 40, num_beams=3, length_penalty=1.0, eos_id=end):
    print(f"  {beam.score:8.4f} nats per token: {tokenizer.decode(beam.ids[1:])}")
some = [pair.source for pair in pairs[:100]]
times = []
for use_cache in (True, False):
    begun = time.monotonic()
    texts = translate(model, tokenizer, some, use_cache=use_cache)
    times.append(time.monotonic() - begun)
    assert texts == written[:100]
print(f"100 numbers with the caches {times[0]:.2f}s, without {times[1]:.2f}s, the same texts")

# %% [markdown]
# ## Cross-attention
#
# Nothing in the training says which words belong together. Each row below is a target token about to be generated,
# each column a source token; the darker a cell, the larger its attention weight (the mean over the heads of one
# layer).


# %%
def cross_attention(source: str, target: str, layer: int) -> tuple[list[str], list[str], Array]:
    """Tokens of source and target, and the mean weight over heads of each target's row. Shapes: -> (T, S)"""
    seen: dict[str, Array] = {}
    part = model.decoder[layer].cross_attention

    def keep(name: str):
        def hook(module: Module, inputs: tuple, output) -> None:
            seen[name] = output

        return hook

    source_ids = [*tokenizer.encode_ordinary(source), end]
    target_ids = [end, *tokenizer.encode_ordinary(target)]
    with no_grad(), part.query.register_forward_hook(keep("query")), part.key.register_forward_hook(keep("key")):
        model(np.array([source_ids]), np.array([target_ids]))
    heads = [seen[n].reshape(1, -1, part.num_heads, part.head_dim).transpose(1, 2) for n in ("query", "key")]
    weights = attention_weights(*heads).data[0].mean(axis=0)
    names = [[tokenizer.decode([i]).strip() for i in row] for row in (source_ids, [*target_ids[1:], end])]
    return names[0], names[1], weights


def picture(source: list[str], target: list[str], weights: Array) -> str:
    """A row of shades for each target token, and the source's tokens numbered above."""
    shades = " ░▒▓█"
    lines = [
        "   ".join(f"{i + 1} {name}" for i, name in enumerate(source)),
        " " * 14 + "".join(f"{i + 1:>3}" for i in range(len(source))),
    ]
    for name, row in zip(target, weights, strict=True):
        cells = "".join(f" {shades[min(int(5 * share), 4)] * 2}" for share in row)
        lines.append(f"{name:>14}{cells}")
    return "\n".join(lines)


print("\n== 5 Alignment ==")
number = 471_082
source = "four hundred and seventy-one thousand and eighty-two"
target = translate(model, tokenizer, [source])[0]
print(f"{source} -> {target} ({'right' if target == french_words(number) else 'wrong'})")
sharpest = max(range(2), key=lambda layer: float(cross_attention(source, target, layer)[2].max(axis=1).mean()))
print(f"layer {sharpest + 1} of 2, the sharper one:")
print(picture(*cross_attention(source, target, sharpest)))

print(f"\n{duration(time.monotonic() - started)} in all")
