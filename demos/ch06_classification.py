# %% [markdown]
# # Chapter 6: fine-tuning a GPT to classify text
#
# The task is to tell spam from other messages. A pretrained GPT already represents the meaning of text; its output
# layer is replaced by a head with two outputs, and the head and the last transformer block are trained on labelled
# messages. Each step is written out first and then compared with the package's function.
#
# The messages are the SMS Spam Collection. Set TINYGRAD_LLM_DATA to a folder that holds `sms_spam_collection.tsv` and
# `gpt2/` (`encoder.json`, `vocab.bpe`), or fetch both once:
#
#     python -c "from tinygrad_llm.text import corpora; corpora.download('sms-spam')"
#     python -c "from tinygrad_llm.text import corpora; corpora.download('gpt2-vocabulary')"
#
# Without the messages the demo classifies lines of Python's documentation and source; without the vocabulary it
# trains its own; either way it prints a note. It takes one to two minutes, nearly all of it for training small
# models. `--full` trains the book's 124M model: all of it from random weights, for about two hours on two cores; or,
# with `--gpt2 FOLDER`, its last block from GPT-2's own weights in a Hugging Face folder, as the book does, in a third
# of the time.

# %%
import argparse
import copy
import csv
import inspect
import re
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

import tinygrad_llm.nn.functional as F
from tinygrad_llm import Generator, Tensor, manual_seed, nn, no_grad, optim
from tinygrad_llm.data import (
    END_OF_TEXT_ID,
    ClassificationDataset,
    DataLoader,
    LabelledText,
    WindowLoader,
    balance,
    label_names,
    random_split,
    read_labelled_texts,
)
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune import Classifier, classification_loss, classify, evaluate_classifier
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.generate import generate
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.random import pandas_sample_order
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import BPETokenizer, GPT2Tokenizer, corpora
from tinygrad_llm.train import Trainer, TrainingSettings, duration, evaluate

end_quietly()

options = argparse.ArgumentParser(description="Chapter 6 of the book: a spam filter, from the messages to the model.")
options.add_argument("--full", action="store_true", help="train the book's 124M model")
options.add_argument("--gpt2", type=Path, metavar="FOLDER", help="with --full: a Hugging Face folder of GPT-2")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own
np.set_printoptions(precision=4, suppress=True, floatmode="fixed", linewidth=100)

# %% [markdown]
# The first section of the chapter compares, without code, two kinds of fine-tuning. A classifier gives only the
# classes that it was trained on: spam, or not. A model that follows instructions (chapter 7) takes any task, and
# needs far more training.

# %%
print("== 6.1 Different categories of finetuning ==")

# %% [markdown]
# ## Messages
#
# Each line of the file has a label, a tab, and a message. Some messages are quoted and contain a line break, so the
# file has two messages fewer than lines: splitting at line ends gives 5,574.

# %%
print("\n== 6.2 Preparing the dataset ==")


def read_messages(path: Path) -> list[LabelledText]:
    """Messages and their labels, quotes understood."""
    with path.open(encoding="utf-8", newline="") as file:
        return [LabelledText(text, label) for label, text in csv.reader(file, delimiter="\t")]


def lines_at_hand() -> list[LabelledText]:
    """Lines of Python's documentation, and fewer lines of a module's source: two classes that need no download."""
    documentation = [line for line in corpora.load_text("python-docs").splitlines() if len(line) > 40]
    source = [line for line in inspect.getsource(argparse).splitlines() if len(line) > 30]
    texts = {line.strip(): "documentation" for line in documentation[::3]}
    texts.update({line.strip(): "source" for line in source[:750]})
    return [LabelledText(text, label) for text, label in texts.items()]


try:
    path = corpora.find("sms-spam")
    messages = read_messages(path)
    books_messages = True
    print(f"the package reads the same: {read_labelled_texts(path, text_column=1, label_column=0) == messages}")
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run sorts lines of Python's documentation and source; its figures are not the book's.")
    messages = lines_at_hand()
    books_messages = False

print(f"messages: {len(messages)}")
for number in (0, 1, 2, 3, 4, -5, -4, -3, -2, -1):
    print(f"{number % len(messages)} {messages[number].label}: {messages[number].text[:46]}")
counts = Counter(message.label for message in messages)
common, rare = (label for label, _ in counts.most_common())
print(f"{common}: {counts[common]}, {rare}: {counts[rare]}")

# %% [markdown]
# A filter that always answers "ham" is right for six messages of seven. So that accuracy means something, as many ham
# messages are sampled as there are spam messages. The sample is the book's: that of pandas' `sample` with seed 123.


# %%
def undersample(messages: list[LabelledText], seed: int) -> list[LabelledText]:
    """A sample of the common class, of the rare one's size, and then the whole rare one."""
    many, few = ([message for message in messages if message.label == label] for label in (common, rare))
    return [many[place] for place in pandas_sample_order(len(many), len(few), seed)] + few


def cut_in_three(messages: list[LabelledText], seed: int) -> tuple[list[LabelledText], ...]:
    """Shuffled: 70% to train on, 10% to watch, the rest for the test at the end."""
    shuffled = [messages[place] for place in pandas_sample_order(len(messages), len(messages), seed)]
    first = int(len(messages) * 0.7)
    second = first + int(len(messages) * 0.1)
    return shuffled[:first], shuffled[first:second], shuffled[second:]


balanced = undersample(messages, seed=123)
print(f"balanced: {len(balanced)}, {Counter(message.label for message in balanced)}")
print(f"balance gives the same: {balance(messages) == balanced}")
names = label_names(balanced)
print(f"ids of the labels: { {name: place for place, name in enumerate(names)} }")
parts = training, validation, test = cut_in_three(balanced, seed=123)
print(f"training {len(training)}, validation {len(validation)}, test {len(test)}")
print(f"random_split gives the same: {random_split(balanced) == parts}")

# %% [markdown]
# A caveat about these messages: some texts occur more than once, because jokes are forwarded and spam is sent in
# bulk, and then may be in both the training and the test part. The book leaves them in, and so does this demo; all
# accuracies below, of every method, are a little too high for that reason.

# %%
repeated = sum(message in training for message in test)
print(f"test messages that also stand, word for word, in the training part: {repeated}")
for place in range(3):
    print(f"training message {place}, {training[place].label}: {training[place].text[:60]}")

# %% [markdown]
# ## Rows
#
# A batch is an array, so its rows need one length: that of the longest training message. Shorter messages are padded
# on the right with `<|endoftext|>`, longer ones of the other parts are truncated.

# %%
print("\n== 6.3 Creating data loaders ==")
try:
    corpora.find("gpt2-vocabulary")
    gpt2_tokenizer: BPETokenizer | None = GPT2Tokenizer()
    tokenizer = gpt2_tokenizer
    print(f"<|endoftext|>: {tokenizer.encode('<|endoftext|>', allowed_special='all')}")
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run trains a small vocabulary; its counts of tokens are not the book's.")
    gpt2_tokenizer = None
    tokenizer = BPETokenizer.train([message.text for message in training], vocab_size=1024)


class PaddedMessages:
    """Pairs of token ids and a class; the ids cut and padded to `max_length`, by default the longest message's."""

    def __init__(
        self, messages: list[LabelledText], tokenizer: BPETokenizer, pad_id: int, max_length: int | None = None
    ) -> None:
        rows = [tokenizer.encode_ordinary(message.text) for message in messages]
        self.max_length = max(len(row) for row in rows) if max_length is None else max_length
        rows = [row[: self.max_length] for row in rows]
        self.ids = np.array([row + [pad_id] * (self.max_length - len(row)) for row in rows])
        self.classes = np.array([names.index(message.label) for message in messages])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place: int) -> tuple[np.ndarray, int]:
        return self.ids[place], int(self.classes[place])


def three_loaders(tokenizer: BPETokenizer, pad_id: int, max_length: int | None = None) -> list[DataLoader]:
    """Batches of eight of the training part, shuffled, and of the other two, in order."""
    train_set = PaddedMessages(training, tokenizer, pad_id, max_length)
    others = [PaddedMessages(part, tokenizer, pad_id, train_set.max_length) for part in (validation, test)]
    return [DataLoader(train_set, 8, shuffle=True, drop_last=True), *(DataLoader(other, 8) for other in others)]


pad_id = END_OF_TEXT_ID if gpt2_tokenizer else tokenizer.end_of_text
loaders_of_ids = three_loaders(tokenizer, pad_id)
max_length = loaders_of_ids[0].dataset.max_length
print(f"longest training message: {max_length} tokens")
package_sets = [ClassificationDataset(part, tokenizer, names, max_length, pad_id) for part in parts]
same = all(
    np.array_equal(loader.dataset.ids, theirs.ids) and np.array_equal(loader.dataset.classes, theirs.classes)
    for loader, theirs in zip(loaders_of_ids, package_sets, strict=True)
)
print(f"ClassificationDataset gives the same: {same}")

manual_seed(123)
batches = list(loaders_of_ids[0])
print(f"classes of the first batch: {batches[0][1]}")
ids, classes = batches[-1]
print(f"last batch: inputs {ids.shape}, classes {classes.shape}")
print("batches: " + ", ".join(str(len(loader)) for loader in loaders_of_ids))

# %% [markdown]
# ## A pretrained body
#
# The book continues with GPT-2's own weights, half a gigabyte that this demo does not download. The figures that
# depend on them come out only with `--full --gpt2 FOLDER`: the losses before training (2.453, 2.583 and 2.322), the
# accuracies (46.25%, 45.00% and 48.75%), the curve, and at the end 97.21%, 97.32% and 95.67%.
#
# Here a small GPT replaces GPT-2: width 48, two blocks, a vocabulary of 1,024 tokens. It is pretrained for a few
# seconds on messages without their labels. No message that is held out below is among them, because that would raise
# the accuracies.

# %%
print("\n== 6.4 Initializing a model with pretrained weights ==")
SPLIT_SEEDS = (123, 124, 125, 126, 127)  # of the five splits at the end; the first is the book's
book_size = arguments.full and books_messages and gpt2_tokenizer is not None
if arguments.full and not book_size:
    print("NOTE: --full needs the messages and GPT-2's vocabulary; this run stays small.")
config = GPTConfig(dropout=0.0, qkv_bias=True)
print(f"the book's: {config.num_layers} blocks of width {config.embedding_dim}, {config.vocab_size} tokens")
if book_size:
    manual_seed(123)
    body = GPT.from_pretrained(arguments.gpt2, dropout=0.0) if arguments.gpt2 else GPT(config)
    start = tokenizer.encode("Every effort moves you")
    print(tokenizer.decode([int(token) for token in generate(body, start, 15)]))
else:
    never_trained = [part for seed in SPLIT_SEEDS for part in random_split(balanced, seed=seed)[1:]]
    held_out = {message.text for part in never_trained for message in part}
    unlabelled = [message.text for message in messages if message.text not in held_out]
    tokenizer = BPETokenizer.train(unlabelled, vocab_size=1024)
    pad_id = tokenizer.end_of_text
    loaders_of_ids = three_loaders(tokenizer, pad_id)
    max_length = loaders_of_ids[0].dataset.max_length
    stream = [token for text in unlabelled for token in [*tokenizer.encode_ordinary(text), pad_id]]
    config = GPTConfig(
        tokenizer.vocab_size,
        context_length=2 * max_length,  # twice as long as needed, for exercise 6.1
        embedding_dim=48,
        num_heads=2,
        num_layers=2,
        dropout=0.0,
        tie_weights=True,
    )
    manual_seed(123)
    body = GPT(config, init="gpt2")
    windows = WindowLoader(np.array(stream), context_length=64, batch_size=16)
    pretraining = TrainingSettings(steps=250, learning_rate=5e-3, warmup_steps=25, eval_interval=0, seed=123)
    print(f"pretraining: {len(unlabelled)} messages, {len(stream)} tokens, {body.num_parameters():,} parameters")
    started = time.perf_counter()
    untrained = evaluate(body, [next(iter(windows))])
    Trainer(body, windows, pretraining).train()
    print(f"loss {untrained:.2f} -> {evaluate(body, [next(iter(windows))]):.2f} nats per token,", end=" ")
    print(f"in {duration(time.perf_counter() - started)}")
body.eval()

# %% [markdown]
# ## The head
#
# Freeze all parameters, replace the output layer by a head of two outputs, and make the last block and the last
# normalization trainable again, because they compute what the head reads.

# %%
print("\n== 6.5 Adding a classification head ==")


def put_head_on(gpt: GPT, num_classes: int, whole_model: bool = False) -> None:
    """A new head, and what may learn with it: the last block and the last normalization, or everything."""
    gpt.requires_grad_(whole_model)
    gpt.head = nn.Linear(gpt.config.embedding_dim, num_classes)
    for part in (gpt.blocks[-1], gpt.final_norm):
        part.requires_grad_()


with nn.init.no_initial_values():  # to be counted only: zeros that are never touched take no memory
    counted = GPT(GPTConfig(dropout=0.0, qkv_bias=True))
    before = counted.num_parameters()
    put_head_on(counted, len(names))
print(f"the book's model: {before:,} parameters, with the new head {counted.num_parameters():,}", end=", ")
print(f"of which {counted.num_parameters(trainable_only=True):,} learn")
del counted

whole_model = book_size and not arguments.gpt2  # a random last block on random frozen ones would learn little
model = copy.deepcopy(body)  # the exercises start from the same body
print(model.blocks[-1])
manual_seed(123)
put_head_on(model, len(names), whole_model)
print(f"this run's: {model.num_parameters():,} parameters, {model.num_parameters(trainable_only=True):,} learn")

example = "Do you have time"
if gpt2_tokenizer:
    print(f"{example!r} in GPT-2's vocabulary: {[gpt2_tokenizer.encode(example)]}")
ids = np.array([tokenizer.encode(example)])
with no_grad():
    outputs = model(ids)
print(f"inputs {ids.shape}: {ids.tolist()}")
print(f"outputs {outputs.shape}:\n{outputs.data}")
print(f"of the last token, the only one that has seen all the others: {outputs.data[:, -1]}")

# %% [markdown]
# ## Loss and accuracy
#
# The predicted class is the one with the larger output. Softmax turns outputs into probabilities and keeps their
# order. For the book's model with GPT-2's weights, whose outputs were -3.5983 and 3.9902:

# %%
print("\n== 6.6 Calculating the classification loss and accuracy ==")
books_outputs = Tensor([[-3.5983, 3.9902]])
print(f"probabilities: {F.softmax(books_outputs).data}, class {F.softmax(books_outputs).data.argmax()}", end=", ")
print(f"without softmax {books_outputs.data.argmax()}")

# %% [markdown]
# The loss is the cross-entropy of chapter 5, at one position per message instead of all. In the book it is the last
# position of the padded row.


# %%
def outputs_at(model: GPT, ids: np.ndarray, place: int = -1) -> Tensor:
    """The head's outputs at one position of each row. Shapes: (B, T) -> (B, classes)."""
    return model(ids)[:, place]


def message_loss(outputs: Tensor, classes: np.ndarray) -> Tensor:
    """The mean of ln Σ eˣ - x[class] over the messages."""
    return (outputs.exp().sum(axis=1).log() - outputs[np.arange(len(classes)), classes]).mean()


@no_grad()
def loss_and_accuracy(
    model: GPT, loader: DataLoader, num_batches: int | None = None, place: int = -1
) -> tuple[float, float]:
    """The mean loss of the first batches, and the accuracy on them."""
    losses, right, seen = [], 0, 0
    for number, (ids, classes) in enumerate(loader):
        if number == num_batches:
            break
        outputs = outputs_at(model, ids, place)
        losses.append(message_loss(outputs, classes).item())
        right += int((outputs.data.argmax(axis=1) == classes).sum())
        seen += len(classes)
    return float(np.mean(losses)), right / seen


manual_seed(123)  # the training loader draws a new order for every evaluation
for name, loader in zip(("training", "validation", "test"), loaders_of_ids, strict=True):
    print(f"untrained, {name} accuracy of 10 batches: {loss_and_accuracy(model, loader, 10)[1]:.2%}")
for name, loader in zip(("training", "validation", "test"), loaders_of_ids, strict=True):
    print(f"untrained, {name} loss of 5 batches: {loss_and_accuracy(model, loader, 5)[0]:.3f}")

# %% [markdown]
# ## Training
#
# This is the loop of chapter 5. It counts messages instead of tokens, and measures the accuracy after each epoch
# instead of printing a sample. The book's learning rate is 0.00005; a small model needs a far larger one.

# %%
print("\n== 6.7 Finetuning the model on supervised data ==")
epochs, rate = (5, 5e-5) if book_size else (3, 5e-4)


def train_filter(model: GPT, loaders: list[DataLoader], place: int = -1, silent: bool = False) -> int:
    """Train for `epochs`, print losses and accuracies, and return how many messages were seen."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optim.AdamW(learning, lr=rate, weight_decay=0.1)
    step = seen = 0
    for epoch in range(1, epochs + 1):
        for ids, classes in loaders[0]:
            optimizer.zero_grad()
            message_loss(outputs_at(model, ids, place), classes).backward()
            optimizer.step()
            seen += len(classes)
            if step % 50 == 0 and not silent:
                losses = [loss_and_accuracy(model, loader, 5, place)[0] for loader in loaders[:2]]
                print(f"epoch {epoch} (step {step:06d}): training loss {losses[0]:.3f}", end=", ")
                print(f"validation loss {losses[1]:.3f}")
            step += 1
        if not silent:
            shares = [loss_and_accuracy(model, loader, 5, place)[1] for loader in loaders[:2]]
            print(f"epoch {epoch}: training accuracy {shares[0]:.2%}, validation accuracy {shares[1]:.2%}")
    return seen


started = time.perf_counter()
manual_seed(123)
seen = train_filter(model, loaders_of_ids)
print(f"{seen} messages seen, in {duration(time.perf_counter() - started)}")
accuracies = [loss_and_accuracy(model, loader)[1] for loader in loaders_of_ids]
for name, accuracy_of_part in zip(("training", "validation", "test"), accuracies, strict=True):
    print(f"trained, {name} accuracy: {accuracy_of_part:.2%}")

# %% [markdown]
# **Exercise 6.1**: pad rows to the model's context, here twice the longest message. The head then reads a position
# further away from the text, and each step takes twice the time. (The book's repository: 78.33% instead of 95.67%.)
#
# **Exercise 6.2**: train the whole model instead of its last block. (96.67%)
#
# **Exercise 6.3**: the head reads the first token instead of the last. Under a causal mask the first token attends
# only to itself, so the head learns only how messages begin. (75.00%)

# %%
exercises = {
    "6.1, rows twice as long": {"max_length": 2 * max_length},
    "6.2, the whole model": {"whole_model": True},
    "6.3, the first token": {"place": 0},
}
if book_size:
    print("exercises 6.1 to 6.3: in the run without --full; here each would take as long as the training above")
    exercises = {}
for name, change in exercises.items():
    other = copy.deepcopy(body)
    manual_seed(123)
    put_head_on(other, len(names), change.get("whole_model", False))
    loaders_of_exercise = three_loaders(tokenizer, pad_id, change.get("max_length", max_length))
    started = time.perf_counter()
    train_filter(other, loaders_of_exercise, change.get("place", -1), silent=True)
    share = loss_and_accuracy(other, loaders_of_exercise[2], place=change.get("place", -1))[1]
    print(f"exercise {name}: test accuracy {share:.2%}, in {duration(time.perf_counter() - started)}")

# %% [markdown]
# ## A spam filter
#
# A new message is padded like the training messages, and the larger output is the answer.

# %%
print("\n== 6.8 Using the LLM as a spam classifier ==")


@no_grad()
def label_of(text: str, model: GPT) -> str:
    """The name of the class with the larger output, for one message."""
    row = tokenizer.encode_ordinary(text)[:max_length]
    row += [pad_id] * (max_length - len(row))
    return names[int(outputs_at(model, np.array([row])).data[0].argmax())]


texts = (
    "You are a winner you have been specially selected to receive $1000 cash or a $2000 award.",
    "Hey, just wanted to check if we're still on for dinner tonight? Let me know!",
)
if not books_messages:
    texts = (test[0].text, test[1].text)
for text in texts:
    print(f"{label_of(text, model)}: {text}")

with tempfile.TemporaryDirectory() as folder:
    saved = Path(folder) / "spam_filter.safetensors"
    write_safetensors(saved, model.state_dict())
    restored = copy.deepcopy(body)
    put_head_on(restored, len(names))
    restored.load_state_dict(read_safetensors(saved))
same = all(label_of(text, restored) == label_of(text, model) for text in texts)
print(f"saved and loaded, the labels are the same: {same}")
del restored

# %% [markdown]
# ## The package's classifier
#
# `Classifier` puts a head on a pretrained model in one call. With `pooling="padded_last"` it is the book's
# classifier: from the same seed it has the same head, the same loss, and the same gradients.

# %%
print("\n== The same with the package's Classifier ==")
manual_seed(123)
classifier = Classifier(copy.deepcopy(body), names, pooling="padded_last")
plain = copy.deepcopy(body)
manual_seed(123)
put_head_on(plain, len(names))
ids, classes = batches[0] if book_size else next(iter(loaders_of_ids[1]))
plain_loss, package_loss = message_loss(outputs_at(plain, ids), classes), classifier.loss(ids, classes)
plain_loss.backward()
package_loss.backward()
print(f"loss before training: largest difference {abs(plain_loss.item() - package_loss.item()):.1e}")
theirs = dict(classifier.body.named_parameters())
learning = {name: parameter for name, parameter in plain.named_parameters() if parameter.requires_grad}
difference = max(np.abs(parameter.grad - theirs[name].grad).max() for name, parameter in learning.items())
print(f"gradients of {len(learning)} parameters: largest difference {difference:.1e}")
print(f"frozen are the same ones: {all(theirs[name].requires_grad == (name in learning) for name in theirs)}")

classifier.load_state_dict({f"body.{name}": array for name, array in model.state_dict().items()})
test_set = ClassificationDataset(test, tokenizer, names, max_length, pad_id)
report = evaluate_classifier(classifier, DataLoader(test_set, batch_size=8))
print(f"accuracy of the trained model on the test part is the same: {report.accuracy == accuracies[2]}")
print(f"confusion (rows: {', '.join(names)}; columns: taken for them):\n{report.confusion}")
print(f"F1 of each class: {report.f1}")
del plain, theirs, learning

# %% [markdown]
# Padding makes the book's method slow, and hard for a small model: most positions of a row are padding, and the head
# reads one of them. `pooling="last"`, the default, reads the last real token, and removes columns that are padding in
# the whole batch. `pooling="mean"` reads the mean of all real tokens; with `causal=False` each of them attends to the
# whole message. Both are trained completely by the package's `Trainer`, on five splits of the same messages, each
# with its own 300 held out.


# %%
def five_splits(name: str, accuracy_of) -> np.ndarray:
    """The accuracies of a method on each of the splits, printed with a 95% interval of their mean."""
    started = time.perf_counter()
    shares = np.array([accuracy_of(*random_split(balanced, seed=seed)[::2]) for seed in SPLIT_SEEDS])
    half = 2.776 * shares.std(ddof=1) / len(shares) ** 0.5  # Student's t with four degrees of freedom
    print(f"{name}, five splits: {', '.join(f'{share:.2%}' for share in shares)}")
    print(f"{name}, mean: {shares.mean():.2%} ± {half:.2%}, in {duration(time.perf_counter() - started)}")
    return shares


def gpt_accuracy(
    train_part: list[LabelledText], test_part: list[LabelledText], pooling: str, causal: bool = True
) -> float:
    """The accuracy of the pretrained small body after three epochs, all of it trained."""
    train_set, test_set = (
        ClassificationDataset(part, tokenizer, names, config.context_length, pad_id) for part in (train_part, test_part)
    )
    manual_seed(123)
    classifier = Classifier(copy.deepcopy(body), names, pooling, trainable="all", causal=causal)
    loader = DataLoader(train_set, batch_size=8, shuffle=True, drop_last=True, generator=Generator(123))
    settings = TrainingSettings(
        steps=3 * len(loader), learning_rate=2e-3, min_learning_rate=2e-4, warmup_steps=30, eval_interval=0, seed=123
    )
    Trainer(classifier, loader, settings, loss=classification_loss).train()
    probabilities = classify(classifier, tokenizer, [message.text for message in test_part], pad_id=pad_id)
    surest = probabilities.max(axis=1)
    wrong = [place for place, message in enumerate(test_part) if names[probabilities[place].argmax()] != message.label]
    mistakes[:] = [(surest[place], test_part[place]) for place in sorted(wrong, key=lambda place: -surest[place])]
    return evaluate_classifier(classifier, DataLoader(test_set, batch_size=50)).accuracy


mistakes: list[tuple[float, LabelledText]] = []  # of the latest model, the surest first
if book_size:
    print("five splits: in the run without --full")
else:
    five_splits("last token", partial(gpt_accuracy, pooling="last"))
    five_splits("mean, not causal", partial(gpt_accuracy, pooling="mean", causal=False))
    print(f"of the last one's {len(mistakes)} mistakes, those it was surest of:")
    for sure, message in mistakes[:4]:
        print(f"    {sure:.2f} sure, but {message.label}: {message.text[:90]}")

# %% [markdown]
# ## A baseline
#
# How much does a language model add to a simple baseline? A bag of words ignores word order and records only which
# words occur; logistic regression gives each word a weight. On the same splits it is about as good: spam is
# recognised by its words ("free", "claim", "£"), and a small model pretrained on a few thousand messages adds little.
# One message of 300 is a third of a percent, and the intervals overlap. The remaining mistakes are messages like
# those above, whose words mislead; a model with far more pretraining would be needed for those.

# %%
print("\n== Beside it: logistic regression on bags of words ==")


def distinct_words(text: str) -> set[str]:
    """The words and signs of a text in lower case."""
    return set(re.findall(r"\w+|[^\w\s]", text.lower()))


def bags(part: list[LabelledText], column: dict[str, int]) -> np.ndarray:
    """A row for each text, with a 1 for each known word that it has. Shapes: (N, words)."""
    table = np.zeros((len(part), len(column)), np.float32)
    for row, message in zip(table, part, strict=True):
        row[[column[word] for word in distinct_words(message.text) if word in column]] = 1
    return table


def bag_accuracy(train_part: list[LabelledText], test_part: list[LabelledText]) -> float:
    """The accuracy of logistic regression on the words that occur in at least two training messages."""
    counts = Counter(word for message in train_part for word in distinct_words(message.text))
    column = {word: place for place, word in enumerate(sorted(word for word in counts if counts[word] > 1))}
    train_bags, test_bags = (Tensor(bags(part, column)) for part in (train_part, test_part))
    train_classes, test_classes = (
        np.array([names.index(message.label) for message in part]) for part in (train_part, test_part)
    )
    weights = Tensor(np.zeros((len(column), len(names)), np.float32), requires_grad=True)
    bias = Tensor(np.zeros(len(names), np.float32), requires_grad=True)
    optimizer = optim.AdamW([weights, bias], lr=0.02, weight_decay=0.1)
    for _ in range(100):  # all messages at once: the table is small
        optimizer.zero_grad()
        message_loss(train_bags @ weights + bias, train_classes).backward()
        optimizer.step()
    return float(((test_bags @ weights + bias).data.argmax(axis=1) == test_classes).mean())


five_splits("bags of words", bag_accuracy)
