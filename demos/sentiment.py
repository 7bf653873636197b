# %% [markdown]
# # Sentiment: GPT, BERT and a bag of words
#
# Is a review positive or negative? Often its words tell: "superb" or "dull". A bag of words, which gives each word a
# weight and ignores their order, is then as good as any model. But "the plot is anything but dull" is praise; in
# "although the acting is superb, the plot is dull" the main clause decides; and in "the critics say that it is dull,
# but I find it superb" the writer's own opinion.
#
# The reviews are generated, so that each kind can be judged alone. Every review but the plain ones has a mirror image:
# exactly the same words, and the other sentiment. A bag of words is right on one of the two. All reviews to be judged
# have only combinations of words that no training review has. Their adjectives are known, but for the last kind:
# there they are new, seen only in reviews without labels, next to known ones.
#
# It takes a minute or two; `--full` trains with three seeds, for longer, in about four minutes of one core. `--data
# FILE` compares the three on reviews of your own, such as IMDB's, in a CSV file with the columns text and label.

# %%
import argparse
import copy
import statistics
import time
from pathlib import Path

import numpy as np

from tinygrad_llm import Generator, manual_seed
from tinygrad_llm.data import (
    MASK,
    ClassificationDataset,
    DataLoader,
    LabelledText,
    MaskedLoader,
    WindowLoader,
    label_names,
    random_split,
    read_labelled_texts,
    sentiment_texts,
)
from tinygrad_llm.data.sentiment import KINDS
from tinygrad_llm.finetune import BagOfWords, Classifier, apply_lora, classification_loss, evaluate_classifier
from tinygrad_llm.models import GPT, Bert, BertConfig, GPTConfig
from tinygrad_llm.nn import Linear
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import END_OF_TEXT, BPETokenizer
from tinygrad_llm.train import Trainer, TrainingSettings, duration, language_model_loss

end_quietly()

options = argparse.ArgumentParser(description="Compare GPT, BERT and a bag of words on the sentiment of reviews.")
options.add_argument("--full", action="store_true", help="three seeds, longer trainings")
options.add_argument("--data", type=Path, metavar="FILE", help="a CSV file with the columns text and label")
options.add_argument("--steps", type=int, metavar="N", help="steps of each training")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own
started = time.monotonic()
SEEDS = (0, 1, 2) if arguments.full else (0,)
LABELLED, UNLABELLED, JUDGED = (2000, 8000, 300) if arguments.full else (600, 3000, 100)
PRETRAINING, FINE_TUNING = (1000, 600) if arguments.full else (250, 200)  # steps
if arguments.steps is not None:
    PRETRAINING = FINE_TUNING = arguments.steps
CONTEXT = 256 if arguments.data else 64

# %% [markdown]
# ## Reviews
#
# Few have a label, many have none.

# %%
print("== 1 Reviews ==")


def reviews_of(seed: int) -> tuple[list[LabelledText], list[str], dict[str, list[LabelledText]]]:
    """Labelled reviews, texts without labels, and reviews to be judged, by kind."""
    if arguments.data:
        training, unlabelled, test = random_split(read_labelled_texts(arguments.data, "text", "label"), seed=seed)
        return training, [review.text for review in training + unlabelled], {"test": test[:2000]}
    source = Generator(seed)
    judged = {kind: sentiment_texts(JUDGED, source, [kind], held_out=True) for kind in KINDS}
    judged["new words"] = sentiment_texts(JUDGED, source, ["plain"], adjectives="new")
    unlabelled = sentiment_texts(UNLABELLED, source, adjectives="all")
    return sentiment_texts(LABELLED, source), [review.text for review in unlabelled], judged


labelled, unlabelled, judged = reviews_of(SEEDS[0])
print(f"{len(labelled):,} reviews with a label, {len(unlabelled):,} without; to be judged:")
for kind, reviews in judged.items():
    print(f"  {kind + ':':<11}{reviews[0].text[:90]} ({reviews[0].label})")

# %% [markdown]
# ## The models
#
# GPT is pretrained to predict the next token, BERT to predict masked ones, both on the texts without labels. Then the
# head of each is replaced by one with an output per class, and all of it is trained on the labelled reviews. GPT's
# head reads the last token, the only one that has seen the whole review, BERT's the mean of all. To show what the
# pretraining contributes, a GPT is also trained without it. With LoRA (Hu et al. 2021, arXiv:2106.09685) the
# pretrained weights stay as they are: only an update of rank 8 to each matrix of the blocks is trained, and the head.

# %%
print("\n== 2 Training ==")


def fit(model, loader, steps: int, seed: int, rate: float, loss=language_model_loss) -> None:
    settings = TrainingSettings(
        steps=steps,
        learning_rate=rate,
        min_learning_rate=rate / 10,
        warmup_steps=50,
        eval_interval=0,
        seed=seed,
        workers=1,
    )
    Trainer(model, loader, settings, loss=loss).train()


def accuracies(body: GPT | Bert, pooling: str, seed: int, lora_rank: int = 0) -> dict[str, float]:
    """Fine-tune a copy of the body on the labelled reviews; the accuracy on each kind to be judged."""
    manual_seed(seed)
    classifier = Classifier(copy.deepcopy(body), labels, pooling, trainable="all")
    if lora_rank:
        inner = [name for name, layer in classifier.named_modules() if isinstance(layer, Linear) and "blocks" in name]
        apply_lora(classifier, lora_rank, 2 * lora_rank, inner)
        classifier.body.head.requires_grad_()
        count = classifier.num_parameters(trainable_only=True)
        print(f"seed {seed}: LoRA trains {count:,} of {classifier.num_parameters():,} parameters")
    dataset = ClassificationDataset(labelled, tokenizer, labels, CONTEXT, end)
    loader = DataLoader(dataset, 32, shuffle=True, generator=Generator(seed))
    fit(classifier, loader, FINE_TUNING, seed, 5e-3 if lora_rank else 1e-3, classification_loss)
    return {
        kind: evaluate_classifier(
            classifier, DataLoader(ClassificationDataset(part, tokenizer, labels, CONTEXT, end), 100)
        ).accuracy
        for kind, part in judged.items()
    }


results: dict[str, list[dict[str, float]]] = {}
for seed in SEEDS:
    labelled, unlabelled, judged = reviews_of(seed)
    labels = label_names(labelled)
    bag = BagOfWords.train(labelled, labels)
    found = {"bag of words": {kind: bag.evaluate(part).accuracy for kind, part in judged.items()}}

    vocab_size = 4096 if arguments.data else 1024
    tokenizer = BPETokenizer.train(unlabelled[:5000], vocab_size, special_tokens=(END_OF_TEXT, MASK))
    end, mask = tokenizer.special_tokens[END_OF_TEXT], tokenizer.special_tokens[MASK]
    ids = np.array([token for text in unlabelled for token in [*tokenizer.encode_ordinary(text), end]])
    sizes = {"context_length": CONTEXT, "embedding_dim": 64, "num_heads": 4, "num_layers": 2, "dropout": 0.0}
    manual_seed(seed)
    gpt = GPT(GPTConfig(tokenizer.vocab_size, tie_weights=True, **sizes), init="gpt2")
    bert = Bert(BertConfig(tokenizer.vocab_size, **sizes))
    bert.begin_with_frequencies(ids)
    found["GPT, no pretraining"] = accuracies(gpt, "last", seed)
    fit(gpt, WindowLoader(ids, 64, 16, Generator(seed)), PRETRAINING, seed, 3e-3)
    found["GPT"] = accuracies(gpt, "last", seed)
    found["GPT, LoRA"] = accuracies(gpt, "last", seed, lora_rank=8)
    windows = WindowLoader(ids, 24, 40, Generator(seed))
    fit(bert, MaskedLoader(windows, mask, mask - 1, Generator(seed).spawn("masks"), share=0.3), PRETRAINING, seed, 3e-3)
    found["BERT"] = accuracies(bert, "mean", seed)
    for name, shares in found.items():
        results.setdefault(name, []).append(shares)
    parameters = f"GPT of {gpt.num_parameters():,} and BERT of {bert.num_parameters():,} parameters"
    print(f"seed {seed}: {parameters}, {len(ids):,} tokens; {duration(time.monotonic() - started)}", flush=True)

# %% [markdown]
# ## Who reads the structure?

#
# Words suffice for plain reviews. For the others the pretrained models win, and GPT reads even two negations inside a
# contrast. What does not work: new words. Good and bad adjectives stand in the same places, so predicting tokens gives
# them similar embeddings, and fine-tuning tells apart only those that it sees. LoRA, which leaves the embeddings as
# they are, lacks the same: it needs a model whose pretraining has already told good from bad.

# %%
print("\n== 3 Accuracy ==")
print(f"{'':<21}" + "".join(f"{kind:>15}" for kind in judged))
for name, runs in results.items():
    cells = []
    for kind in judged:
        shares = [run[kind] for run in runs]
        spread = f" ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else ""
        cells.append(f"{f'{100 * statistics.mean(shares):.1f}{spread}%':>15}")
    print(f"{name:<21}" + "".join(cells))
print(f"(on {', '.join(f'{len(part):,}' for part in judged.values())} reviews; {len(SEEDS)} seeds)")

print(f"\n{duration(time.monotonic() - started)} in all")
