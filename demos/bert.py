# %% [markdown]
# # BERT compared with GPT
#
# GPT reads from left to right and predicts the next token. BERT (Devlin et al. 2018) reads the whole text and
# predicts masked tokens. The transformer blocks are the same; the attention mask and the objective differ. This demo
# trains one of each, of the same size and for the same CPU time, on the same messages, shows what BERT fills in, and
# then fine-tunes both to classify spam.
#
# The messages are the SMS Spam Collection; ch06_classification.py says how to get it. Without it the demo classifies
# lines of Python's documentation and source, and prints a note. It takes 80 seconds of CPU time; `--full` trains
# five times as long.

# %%
import argparse
import copy
import math
import os
import time

import numpy as np

from tinygrad_llm import Generator, manual_seed
from tinygrad_llm.data import (
    MASK,
    ClassificationDataset,
    DataLoader,
    LabelledText,
    MaskedLoader,
    WindowBatches,
    WindowLoader,
    balance,
    label_names,
    mask_tokens,
    random_split,
    read_labelled_texts,
)
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune import Classifier, classification_loss, evaluate_classifier
from tinygrad_llm.generate import fill_masks
from tinygrad_llm.models import GPT, Bert, BertConfig, GPTConfig
from tinygrad_llm.nn import Module
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import END_OF_TEXT, BPETokenizer, corpora
from tinygrad_llm.train import Loss, Trainer, TrainingSettings, duration, evaluate, language_model_loss

end_quietly()

options = argparse.ArgumentParser(description="BERT and GPT, of one size and trained for the same CPU time.")
options.add_argument("--full", action="store_true", help="train five times as long")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
started = time.monotonic()
PRETRAINING, FINE_TUNING = (100.0, 40.0) if full else (20.0, 8.0)  # seconds of CPU time for each model
WIDTH, LAYERS, HEADS, CONTEXT = 64, 2, 4, 64
SHORT, SHORT_SHARE = 16, 0.8  # of the time in which BERT reads pieces of so many tokens

print("== 1 Messages ==")
try:
    messages = read_labelled_texts(corpora.find("sms-spam"), text_column=1, label_column=0)
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run tells indented lines of Python's documentation from others instead.")
    lines = dict.fromkeys(line for line in corpora.load_text("python-docs").splitlines() if len(line) > 40)
    kinds = {True: "indented", False: "flush left"}
    messages = [LabelledText(line.strip(), kinds[line.startswith("   ")]) for line in lines][::3]
training, validation, test = random_split(balance(messages))
kept = {message.text for part in (validation, test) for message in part}
unlabelled = [message.text for message in messages if message.text not in kept]
labels = label_names(messages)
tokenizer = BPETokenizer.train(unlabelled, 1024, special_tokens=(END_OF_TEXT, MASK))
end, mask_id = (tokenizer.special_tokens[name] for name in (END_OF_TEXT, MASK))
ids = np.array([token for text in unlabelled for token in [*tokenizer.encode_ordinary(text), end]])
cut = len(ids) * 19 // 20
print(f"{len(messages):,} messages; {len(training):,} with their class to train on, {len(test)} for the test")
print(f"to pretrain on, without class: {len(unlabelled):,} messages, {len(ids):,} tokens of {tokenizer.vocab_size}")

# %% [markdown]
# ## Masking tokens
#
# 15% of the tokens are prediction targets. Of these, 80% are replaced by the mask token, 10% by a random token, and
# 10% stay unchanged, so the model cannot rely on any token that it reads.

# %%
print("\n== 2 Masking tokens ==")
words = mask_id - 1  # the special tokens have the last ids
inputs, targets = mask_tokens(ids[None, :300], mask_id, words, Generator(7))
asked = targets != -100
hidden = inputs == mask_id
changed = asked & ~hidden & (inputs != targets)
print(f"before: {tokenizer.decode(ids[:40])!r}")
print(f"after:  {tokenizer.decode(inputs[0, :40])!r}")
print(f"of 300 tokens asked for {asked.sum()}: hidden {hidden.sum()}, replaced {changed.sum()}, ", end="")
print(f"left {asked.sum() - hidden.sum() - changed.sum()}")

# %% [markdown]
# ## Two models
#
# BERT has a few parameters more: segment embeddings, biases of queries, keys and values, and a dense layer before its
# head, which has biases too. Those start at the logarithms of the token frequencies; from zeros, so short a training
# would be spent on learning the frequencies.
#
# Two more choices help in so short a training. 30% of the tokens are targets, not 15%, which gives twice as many
# predictions for the same text (Wettig et al. 2022, arXiv:2202.08005). And as in the paper, BERT reads short pieces
# first and whole contexts later: attention to neighbouring tokens has to be learned for every position, and sixteen
# positions are learned sooner than sixty-four.

# %%
print("\n== 3 Pretraining ==")
manual_seed(123)
sizes = {"context_length": CONTEXT, "embedding_dim": WIDTH, "num_heads": HEADS, "num_layers": LAYERS, "dropout": 0.0}
gpt = GPT(GPTConfig(tokenizer.vocab_size, tie_weights=True, **sizes), init="gpt2")
bert = Bert(BertConfig(tokenizer.vocab_size, **sizes))
bert.begin_with_frequencies(ids[:cut])


def cpu_seconds() -> float:
    """CPU time of this process and of its workers: another program that runs too takes nothing of it."""
    return sum(os.times()[:4])


def train_for(model: Module, loader, seconds: float, rate: float, loss: Loss = language_model_loss) -> int:
    """Train until the CPU time is used, at a rate that falls with the root of the step. Returns the number of steps."""
    settings = TrainingSettings(
        steps=10**6, learning_rate=rate, schedule="inverse_square_root", warmup_steps=50, beta2=0.98, eval_interval=0
    )
    trainer, begun = Trainer(model, loader, settings, loss=loss), cpu_seconds()
    while cpu_seconds() - begun < seconds:
        trainer.train(trainer.step + 5)
    model.eval()
    return trainer.step


def windows(length: int = CONTEXT) -> WindowLoader:
    return WindowLoader(ids[:cut], length, 16 * CONTEXT // length, Generator(1))


def hidden_words(length: int) -> MaskedLoader:
    return MaskedLoader(windows(length), mask_id, words, Generator(2), share=0.3)


unseen = WindowBatches(ids[cut:], CONTEXT, 16)
hiding = Generator(5)
masked = []  # evaluated on masked tokens only: an unchanged token could be copied
for i in range(len(unseen)):
    inputs, targets = mask_tokens(unseen[i][0], mask_id, words, hiding)
    masked.append((inputs, np.where(inputs == mask_id, targets, -100)))
for name, model, loaders, judged, task in (
    ("GPT", gpt, {1.0: windows()}, [unseen[i] for i in range(len(unseen))], "loss on the next token"),
    (
        "BERT",
        bert,
        {SHORT_SHARE: hidden_words(SHORT), 1 - SHORT_SHARE: hidden_words(CONTEXT)},
        masked,
        "loss on hidden tokens",
    ),
):
    before = evaluate(model, judged)
    steps = sum(train_for(model, loader, part * PRETRAINING, 3e-3) for part, loader in loaders.items())
    after = evaluate(model, judged)
    print(f"{name}: {model.num_parameters():,} parameters, {steps} steps in {PRETRAINING:.0f} s of CPU time; ", end="")
    print(f"{task}: {before:.3f} -> {after:.3f} nats (perplexity {math.exp(after):.0f})")

# %% [markdown]
# The two losses cannot be compared with each other; each compares with a guess from token frequencies. GPT gets far
# below it, because the previous token says most, and needs no attention. BERT, which learns about a masked token
# through attention alone, gets just below: seconds are not enough for more, as its guesses below show.
# The paper's BERT was trained for days.

# %%
shares = (np.bincount(ids[:cut], minlength=tokenizer.vocab_size) + 1) / (cut + tokenizer.vocab_size)
frequencies = -np.log(shares[ids[cut:]]).mean()
print(f"from frequencies alone: {frequencies:.3f} nats (perplexity {math.exp(frequencies):.0f})")

print("\n== 4 Filling masks ==")
for text in (f"Please call {MASK} later", f"Call now to {MASK} your prize", f"I will {MASK} you at home"):
    filled, guesses = fill_masks(bert, tokenizer, text, top_k=4)
    shown = ", ".join(f"{guess.text!r} {guess.probability:.2f}" for guess in guesses[0])
    print(f"  {text}: {shown}")

# %% [markdown]
# ## Which one classifies better?
#
# The same trainer fine-tunes both to classify, for the same CPU time. GPT's head reads the last token, the only one
# that attends to the whole text; BERT's head reads the mean of all tokens, each of which does. For a fair comparison
# GPT is also trained with the mean; and each is trained once from scratch, to show what the pretraining contributes.

# %%
print("\n== 5 Fine-tuning ==")
manual_seed(456)
fresh_gpt, fresh_bert = GPT(gpt.config, init="gpt2"), Bert(bert.config)
datasets = [ClassificationDataset(part, tokenizer, labels, CONTEXT, end) for part in (training, validation, test)]
judging = [list(DataLoader(dataset, 50, generator=Generator(0))) for dataset in datasets[1:]]
print(f"{'':<22}{'reads':>6}{'steps':>7}{'validation':>12}{'test':>9}{'test loss':>11}")
for name, body, pooling in (
    ("GPT, pretrained", gpt, "last"),
    ("GPT, pretrained", gpt, "mean"),
    ("BERT, pretrained", bert, "mean"),
    ("GPT, from nothing", fresh_gpt, "mean"),
    ("BERT, from nothing", fresh_bert, "mean"),
):
    classifier = Classifier(copy.deepcopy(body), labels, pooling, trainable="all")
    loader = DataLoader(datasets[0], 16, shuffle=True, generator=Generator(3))
    steps = train_for(classifier, loader, FINE_TUNING, 1e-3, classification_loss)
    watched, judged = (evaluate_classifier(classifier, batches) for batches in judging)
    print(f"{name:<22}{pooling:>6}{steps:>7}{watched.accuracy:>12.1%}{judged.accuracy:>9.1%}{judged.loss:>11.3f}")
error = math.sqrt(0.95 * 0.05 / len(test))
print(f"(with {len(test)} texts, 95% right is known to within {2 * error:.1%}: smaller differences say nothing)")

print(f"\n{duration(time.monotonic() - started)} in all")
