# %% [markdown]
# # Chapter 7: fine-tuning a model to follow instructions
#
# A pretrained model continues text. Trained on questions with their answers, it learns to answer. Most of the chapter
# is about the data: how a record becomes a text, how texts of different lengths become a batch, and which tokens of
# the batch count in the loss. Each step is written out first and then compared with the package's function.
#
# Set TINYGRAD_LLM_DATA to a folder that holds `instruction-data.json` and `gpt2/` (`encoder.json`, `vocab.bpe`), or
# fetch both once:
#
#     python -c "from tinygrad_llm.text import corpora; corpora.download('instructions')"
#     python -c "from tinygrad_llm.text import corpora; corpora.download('gpt2-vocabulary')"
#
# Without them the demo generates its own records and prints a note. It takes about a minute, nearly all of it
# training; `--full` trains a larger model on more kinds of tasks, and another one on the book's records, in about ten
# minutes.

# %%
import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

import tinygrad_llm.nn.functional as F
from tinygrad_llm import Generator, Tensor, manual_seed
from tinygrad_llm.data import (
    END_OF_TEXT_ID,
    PROMPT_STYLES,
    DataLoader,
    InstructionDataset,
    collate_instructions,
    collate_padded,
    collate_shifted,
    instruction_tasks,
    read_instructions,
    split_records,
)
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune import evaluate_instructions, respond
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import END_OF_TEXT, BPETokenizer, GPT2Tokenizer, SimpleTokenizerV2, Tokenizer, corpora
from tinygrad_llm.train import Trainer, TrainingSettings, evaluate

end_quietly()

options = argparse.ArgumentParser(description="Chapter 7 of the book: instructions, from records to a model.")
options.add_argument("--full", action="store_true", help="larger models, more kinds of tasks, and the book's records")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
np.set_printoptions(linewidth=100)

# %% [markdown]
# The first section of the chapter explains, without code, why a model trained only to continue text is a poor
# assistant: in its training text, a question is often followed by another question.

# %%
print("== 7.1 Introduction to instruction finetuning ==")

# %% [markdown]
# ## Records
#
# A record has an instruction, an input (often empty), and a good answer as its output.

# %%
print("\n== 7.2 Preparing a dataset for supervised instruction finetuning ==")
try:
    records = read_instructions(corpora.find("instructions"))
    corpora.find("gpt2-vocabulary")
    tokenizer: Tokenizer = GPT2Tokenizer()
    from_the_book = True
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run makes 1,100 records and a vocabulary of its own; figures made from them are not the book's.")
    records = instruction_tasks(1100, Generator(123))
    tokenizer = BPETokenizer.train([PROMPT_STYLES["alpaca"].answered(record) for record in records], 1024)
    from_the_book = False
print(f"number of entries: {len(records)}")
print(f"entry 50: {records[50]}")
print(f"entry 999: {records[999]}")

# %% [markdown]
# A model reads one text, so a record is formatted with a template. Alpaca's template puts a heading before each part;
# the heading of the input is left out where there is none.


# %%
def alpaca_prompt(record: dict) -> str:
    """The question part of a record: a sentence for all records, the instruction, and the input if there is one."""
    text = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    text += f"\n\n### Instruction:\n{record['instruction']}"
    return text + f"\n\n### Input:\n{record['input']}" if record["input"] else text


def alpaca_text(record: dict) -> str:
    """A whole record as one text."""
    return alpaca_prompt(record) + f"\n\n### Response:\n{record['output']}"


for number in (50, 999):
    print(f"--- entry {number} as a text ---\n{alpaca_text(records[number])}")
print("---")
alpaca = PROMPT_STYLES["alpaca"]
print(f"the package writes the same: {all(alpaca.answered(record) == alpaca_text(record) for record in records)}")

# %% [markdown]
# 85% of the records are for training, 10% for the test, and 5% for validation during training.

# %%
train_size, test_size = int(len(records) * 0.85), int(len(records) * 0.1)
train_records = records[:train_size]
test_records = records[train_size : train_size + test_size]
validation_records = records[train_size + test_size :]
print(f"training {len(train_records)}, validation {len(validation_records)}, test {len(test_records)}")
three_parts = [train_records, test_records, validation_records]
print(f"split_records gives the same: {list(split_records(records)) == three_parts}")

# %% [markdown]
# ## Batches, in three stages
#
# Chapter 6 padded every text to the longest of the whole set. Here each batch is padded to its own longest text, by a
# collate function that the loader calls: it takes a list of texts and returns the arrays of a batch.
#
# **First stage**: rows of one length, padded with the id of `<|endoftext|>`.

# %%
print("\n== 7.3 Organizing data into training batches ==")
print(f"{END_OF_TEXT}: {tokenizer.encode(END_OF_TEXT, allowed_special='all')}")
Rows = Sequence[Sequence[int]]


def stage_1(rows: Rows, pad_id: int = END_OF_TEXT_ID) -> np.ndarray:
    """The inputs: every row filled up to the longest."""
    longest = max(len(row) for row in rows)
    return np.array([[*row, *[pad_id] * (longest - len(row))] for row in rows])


example = ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9])
print(f"stage 1, inputs:\n{stage_1(example)}")

# %% [markdown]
# **Second stage**: targets. At each position the target is the next id; after the last one comes a padding id.


# %%
def stage_2(rows: Rows, pad_id: int = END_OF_TEXT_ID) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and the same moved one place to the left."""
    inputs = stage_1(rows, pad_id)
    return inputs, np.concatenate([inputs[:, 1:], np.full((len(rows), 1), pad_id)], axis=1)


inputs, targets = stage_2(example)
print(f"stage 2, inputs:\n{inputs}\nstage 2, targets:\n{targets}")

# %% [markdown]
# **Third stage**: the model should learn to stop, so the first padding id stays a target. The other padding targets
# become -100. `longest` truncates rows that are longer than the model's context.


# %%
def stage_3(
    rows: Rows, pad_id: int = END_OF_TEXT_ID, ignore_index: int = -100, longest: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and targets in which each row's padding after the first is `ignore_index`."""
    inputs, targets = stage_2(rows, pad_id)
    for row, line in zip(rows, targets, strict=True):
        line[len(row) :] = ignore_index
    return inputs[:, :longest], targets[:, :longest]


inputs, targets = stage_3(example)
print(f"stage 3, inputs:\n{inputs}\nstage 3, targets:\n{targets}")
pairs = [
    ((stage_1(example),), (collate_padded(example),)),
    (stage_2(example), collate_shifted(example)),
    ((inputs, targets), collate_instructions(example)),
]
same = all(np.array_equal(a, b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))
print(f"the package's three stages give the same: {same}")

# %% [markdown]
# Cross-entropy leaves targets of -100 out of its mean. Two examples have a loss; a third one changes it; with -100 as
# its target the third one has no effect.


# %%
def counted_cross_entropy(logits: Tensor, targets: list[int]) -> Tensor:
    """The mean of ln Σ eˣ - x[target] over the rows whose target is not -100."""
    counted = [row for row, target in enumerate(targets) if target != -100]
    chosen = logits[counted]
    right = chosen[np.arange(len(counted)), [targets[row] for row in counted]]
    return (chosen.exp().sum(axis=1).log() - right).mean()


two, three = [[-1.0, 1.0], [-0.5, 1.5]], [[-1.0, 1.0], [-0.5, 1.5], [-0.5, 1.5]]
losses, package_losses = [], []
for name, logits, classes in (
    ("two examples", two, [0, 1]),
    ("three examples", three, [0, 1, 1]),
    ("the third one ignored", three, [0, 1, -100]),
):
    losses.append(counted_cross_entropy(Tensor(logits), classes).item())
    package_losses.append(F.cross_entropy(Tensor(logits), np.array(classes)).item())
    print(f"{name}: {losses[-1]:.4f}")
print(f"the first and the last loss are the same: {losses[0] == losses[2]}")
print(f"against F.cross_entropy: largest difference {np.abs(np.subtract(losses, package_losses)).max():.1e}")

# %% [markdown]
# **Exercise 7.2**: leave the question out of the loss too, so that only answers are learned. The position of the last
# question token predicts the first token after it, so the mask has one target fewer than the question has tokens.


# %%
def without_question(targets: np.ndarray, question_lengths: Sequence[int]) -> np.ndarray:
    """Targets in which those inside the question are -100 as well."""
    masked = targets.copy()
    for line, length in zip(masked, question_lengths, strict=True):
        line[: length - 1] = -100
    return masked


samples = [
    {
        "instruction": "What is an antonym of 'complicated'?",
        "input": "",
        "output": "An antonym of 'complicated' is 'simple'.",
    },
    {
        "instruction": "Sort the following list in alphabetical order.",
        "input": "Zebra, Elephant, Crocodile",
        "output": "Crocodile, Elephant, Zebra",
    },
    {
        "instruction": "Arrange the given numbers in descending order.",
        "input": "5, 12, 8, 3, 15",
        "output": "15, 12, 8, 5, 3.",
    },
]
pad_id = tokenizer.encode(END_OF_TEXT, allowed_special="all")[0]
inputs, targets = stage_3([tokenizer.encode_ordinary(alpaca_text(sample)) for sample in samples], pad_id)
masked = without_question(targets, [len(tokenizer.encode_ordinary(alpaca_prompt(sample))) for sample in samples])
print(f"exercise 7.2, shape {masked.shape}")
print(f"inputs of the second sample:\n{inputs[1]}")
print(f"its targets:\n{masked[1]}")
print(f"what is learned: {tokenizer.decode(masked[1][masked[1] != -100])!r}")
package_batch = collate_instructions(InstructionDataset(samples, tokenizer).items, pad_id, mask_instructions=True)
same = np.array_equal(package_batch[0], inputs) and np.array_equal(package_batch[1], masked)
print(f"collate_instructions with mask_instructions gives the same: {same}")

# %% [markdown]
# ## Loaders
#
# Texts are turned into ids once, before training. The loader shuffles, and our three stages make its batches. Each
# batch is as wide as its longest text.

# %%
print("\n== 7.4 Creating data loaders for an instruction dataset ==")
manual_seed(123)
train_rows = [tokenizer.encode_ordinary(alpaca_text(record)) for record in train_records]
plain_collate = partial(stage_3, pad_id=pad_id, longest=1024)
train_loader = DataLoader(train_rows, batch_size=8, shuffle=True, drop_last=True, collate_fn=plain_collate)
batches = list(train_loader)
print(f"{len(batches)} batches of {len(batches[0][0])}, their widths:\n{[inputs.shape[1] for inputs, _ in batches]}")
print(f"widths of inputs and targets are the same: {all(inputs.shape == targets.shape for inputs, targets in batches)}")
inputs, targets = batches[-1]
print(f"first row of the last batch, inputs:\n{inputs[0]}\nfirst row of the last batch, targets:\n{targets[0]}")

manual_seed(123)
package_loader = DataLoader(
    InstructionDataset(train_records, tokenizer),
    batch_size=8,
    shuffle=True,
    drop_last=True,
    collate_fn=partial(collate_instructions, pad_id=pad_id, allowed_max_length=1024),
)
same = all(
    np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])
    for ours, theirs in zip(batches, package_loader, strict=True)
)
print(f"the package's dataset and collation give the same: {same}")

# %% [markdown]
# **Exercise 7.1**: Phi-3's template instead of Alpaca's. It adds fewer tokens to a record, so batches are narrower
# and training is faster.


# %%
def phi3_prompt(record: dict) -> str:
    """The question part of a record between the marks of two speakers."""
    return f"<|user|>\n{record['instruction']}" + (f"\n{record['input']}" if record["input"] else "")


phi3 = PROMPT_STYLES["phi3"]
for number in (50, 999):
    print(f"--- exercise 7.1, entry {number} ---\n{phi3_prompt(records[number])}")
print("---")
print(f"the package writes the same question: {all(phi3.prompt(r) == phi3_prompt(r) for r in records)}")
lengths = [
    np.mean([len(item.ids) for item in InstructionDataset(train_records, tokenizer, style).items])
    for style in PROMPT_STYLES
]
print(f"mean tokens of a record: Alpaca {lengths[0]:.1f}, Phi-3 {lengths[1]:.1f}")

# %% [markdown]
# ## The model
#
# The book now loads GPT-2 (355M), pretrained on web pages, and fine-tunes it for two epochs. Without those weights
# its losses and answers cannot be reproduced, and a model that a laptop trains from scratch knows no capitals and no
# antonyms. It can learn to follow instructions whose answer is in the question, so the records here are computed:
# which word is longest, which number is smallest. Their tokens are whole words, as in chapter 2; the speaker marks of
# Phi-3 are unknown words to that tokenizer, which is sufficient here.
#
# In the test both the content of the question and its wording are new to the model.

# %%
print("\n== 7.5 Loading a pretrained LLM ==")
print("GPT-2's weights are out of reach here, and with them the book's losses and answers; a small GPT replaces it")
print(f"the question that the book's model is asked first:\n{alpaca_prompt(validation_records[0])}\n---")
KINDS = ["longest_word", "extract_number", "largest_number", "smallest_number", "count_words"]
if full:
    KINDS += ["first_word", "last_word", "past_tense", "remove_word", "sort_numbers"]
source = Generator(123)
task_records = instruction_tasks(800 * len(KINDS), source, KINDS)
held_out = instruction_tasks(40 * len(KINDS), source, KINDS, held_out_wordings=True, held_out_contents=True)
word_tokenizer = SimpleTokenizerV2.train("\n".join(phi3.answered(record) for record in task_records))
end_id = word_tokenizer.encode(END_OF_TEXT)[0]
print(f"{len(task_records)} training records of {len(KINDS)} kinds, {len(held_out)} held out; for example")
for record in held_out[:3]:
    print(f"  {record['instruction']} | {record['input']} | {record['output']}")

manual_seed(123)
sizes = {"embedding_dim": 96, "num_layers": 3} if full else {"embedding_dim": 64, "num_layers": 2}
config = GPTConfig(word_tokenizer.vocab_size, 64, num_heads=4, dropout=0.0, tie_weights=True, **sizes)
model = GPT(config, init="gpt2")
print(f"the small GPT: {model.num_parameters():,} parameters, {config.vocab_size} tokens")

# %% [markdown]
# The generated text contains the question and the answer. The answer is what remains after the question and the
# heading "Response" are removed.


# %%
def response_in(text: str, question: str, heading: str) -> str:
    """The answer in a generated text."""
    return text[len(question) :].replace(heading, "").strip()


same = all(
    response_in(alpaca_text(record), alpaca_prompt(record), "### Response:")
    == alpaca.extract_response(alpaca_text(record), record)
    == record["output"]
    for record in records
)
print(f"extracting an answer by hand, by the package, and the answer itself are the same: {same}")
before = evaluate_instructions(model, word_tokenizer, held_out, "phi3", max_new_tokens=12, end_id=end_id)
print(f"before training, right answers to held-out questions: {100 * before.score:.1f}%")

# %% [markdown]
# ## Training
#
# This is the loop of chapter 5, here by the package's `Trainer`. Only the batches are new; the targets inside
# questions are masked.

# %%
print("\n== 7.6 Finetuning the LLM on instruction data ==")


def finetune(
    model: GPT, tokenizer: Tokenizer, training: list, held_out: list, style: str, settings: TrainingSettings
) -> None:
    """Train on batches of records, and print the loss of answers on held-out ones on the way."""
    end_id = tokenizer.encode(END_OF_TEXT, allowed_special="all")[0]
    collate = partial(
        collate_instructions,
        pad_id=end_id,
        mask_instructions=True,
        allowed_max_length=model.config.context_length,
    )
    watched = list(DataLoader(InstructionDataset(held_out, tokenizer, style), 32, collate_fn=collate))
    loader = DataLoader(
        InstructionDataset(training, tokenizer, style),
        settings.batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=collate,
        generator=Generator(123),
    )
    trainer = Trainer(model, loader, settings)
    print(f"step 0: validation loss {evaluate(model, watched):.3f}")
    start = time.perf_counter()
    for quarter in (1, 2, 3, 4):
        trainer.train(until=settings.steps * quarter // 4)
        print(f"step {trainer.step}: validation loss {evaluate(model, watched):.3f}")
    print(f"{settings.steps} steps took {time.perf_counter() - start:.0f} s")


settings = TrainingSettings(
    steps=3200 if full else 1200,
    batch_size=32,
    learning_rate=4e-3 if full else 5e-3,
    min_learning_rate=5e-4,
    warmup_steps=50,
    eval_interval=0,
)
finetune(model, word_tokenizer, task_records, held_out, "phi3", settings)

# %% [markdown]
# ## Answers
#
# Answers are generated greedily, until the model emits the end of text. They are written to a file together with
# their records, and the model is saved in a folder and loaded again.

# %%
print("\n== 7.7 Extracting and saving responses ==")
for record, answer in zip(held_out[:3], respond(model, word_tokenizer, held_out[:3], "phi3", 12, end_id), strict=True):
    print(f"{phi3.prompt(record)}\ncorrect response: {record['output']}\nmodel response:   {answer}\n---")
after = evaluate_instructions(model, word_tokenizer, held_out, "phi3", max_new_tokens=12, end_id=end_id)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "instruction-data-with-response.json"
    answered = [{**answer.record, "model_response": answer.response} for answer in after.answers]
    path.write_text(json.dumps(answered, indent=4), encoding="utf-8")
    print(f"{path.name}, first entry: {json.loads(path.read_text(encoding='utf-8'))[0]}")
    model.save_pretrained(Path(folder) / "model")
    restored = GPT.from_pretrained(Path(folder) / "model")
again = respond(restored, word_tokenizer, held_out, "phi3", 12, end_id)
print(f"the model opened from its folder answers the same: {again == [answer.response for answer in after.answers]}")

# %% [markdown]
# ## Scores
#
# In the book a larger model, Llama 3 with 8 billion parameters, scores the answers from 0 to 100, because most
# questions have many good answers. The questions here have one, so scores come from comparison. The small model does
# not learn to count words in so few steps: lists have three to five words, so guessing gives a third.

# %%
print("\n== 7.8 Evaluating the finetuned LLM ==")
figures = {"all": (before, after)} | {kind: (before.by_kind()[kind], after.by_kind()[kind]) for kind in sorted(KINDS)}
print(f"right answers to {len(held_out)} held-out questions")
for kind, (report_before, report_after) in figures.items():
    print(f"  {kind}: before {100 * report_before.score:.1f}%, after {100 * report_after.score:.1f}%")

if full and from_the_book:
    print("the book's records, a small GPT from scratch:")
    book_tokenizer = BPETokenizer.train([alpaca_text(record) for record in train_records], 2048)
    book_end = book_tokenizer.encode(END_OF_TEXT, allowed_special="all")[0]
    manual_seed(123)
    book_config = GPTConfig.preset("micro", vocab_size=book_tokenizer.vocab_size, context_length=256, dropout=0.1)
    book_model = GPT(book_config, init="gpt2")
    untrained = evaluate_instructions(book_model, book_tokenizer, test_records, "alpaca", 64, book_end)
    schedule = TrainingSettings(steps=580, batch_size=8, warmup_steps=50, eval_interval=0)
    finetune(book_model, book_tokenizer, train_records, validation_records, "alpaca", schedule)
    trained = evaluate_instructions(book_model, book_tokenizer, test_records, "alpaca", 64, book_end)
    for name, report in (("before", untrained), ("after", trained)):
        found = report.figures()
        print(f"{name}: token F1 {found['token_f1']:.3f}, exact {100 * found['exact_match']:.1f}% of {found['count']}")
