# %% [markdown]
# # DPO: learning from preferences
#
# Two answers may both be correct, and one of them rude. Direct preference optimization (DPO, Rafailov et al. 2023)
# trains a model to prefer one of two answers, from pairs of answers and a frozen copy of the initial model. This demo
# follows the book's bonus notebook: the data, the masks, the log-probabilities and the loss are written out first and
# then compared with the package's; then a small model learns to prefer polite answers.
#
# Set TINYGRAD_LLM_DATA to a folder that holds `instruction-data-with-preference.json` and `gpt2/` (`encoder.json`,
# `vocab.bpe`), or fetch both once:
#
#     python -c "from tinygrad_llm.text import corpora; corpora.download('preferences')"
#     python -c "from tinygrad_llm.text import corpora; corpora.download('gpt2-vocabulary')"
#
# Without them the demo generates its own pairs and prints a note. It takes about a minute; `--full` trains a larger
# model for longer.

# %%
import argparse
import math
import time
from functools import partial

import numpy as np

import tinygrad_llm.nn.functional as F
from tinygrad_llm import Generator, Tensor, manual_seed, no_grad
from tinygrad_llm.data import (
    PROMPT_STYLES,
    DataLoader,
    InstructionDataset,
    PreferenceBatch,
    PreferenceDataset,
    collate_instructions,
    collate_preferences,
    instruction_tasks,
    read_preferences,
    split_records,
)
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune import DPO, dpo_loss, evaluate_preferences, frozen_copy, sequence_log_probs
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import BPETokenizer, GPT2Tokenizer, Tokenizer, corpora
from tinygrad_llm.train import Trainer, TrainingSettings, evaluate

end_quietly()

options = argparse.ArgumentParser(description="The book's bonus chapter on preferences: DPO, from the data to a model.")
options.add_argument("--full", action="store_true", help="train a larger model for longer")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
np.set_printoptions(linewidth=100)

# %% [markdown]
# In reinforcement learning from human feedback, a second model (the reward model) learns the preferences, and the
# first is trained to raise its reward. DPO needs no reward model. For a question x with a chosen answer w and a
# rejected answer l,
#
#     loss = -ln σ(β [(ln π(w|x) - ln π_ref(w|x)) - (ln π(l|x) - ln π_ref(l|x))])
#
# where π is the model in training, π_ref its frozen initial copy (the reference), and σ the logistic function. The
# loss falls when the chosen answer becomes more likely, relative to the reference, than the rejected one.

# %%
print("== 1) A brief introduction to DPO ==")

# %%
print("\n== 2) Preparing a preference dataset for DPO ==")
print("\n== 2.1) Loading a preference dataset ==")


def own_pairs(count: int) -> list[dict[str, str]]:
    """Pairs whose chosen answer is the plain one, and whose rejected one is rude."""
    rude = ("Obviously {}, you fool", "{}, as any child knows", "How stupid to ask: {}", "{}. Now go away")
    pairs = []
    for number, record in enumerate(instruction_tasks(count, Generator(123))):
        rejected = rude[number % len(rude)].format(record["output"])
        pairs.append({**record, "rejected": rejected, "chosen": record["output"]})
    return pairs


try:
    records = read_preferences(corpora.find("preferences"))
    corpora.find("gpt2-vocabulary")
    tokenizer: Tokenizer = GPT2Tokenizer()
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run makes 1,100 pairs and a vocabulary of its own; figures made from them are not the book's.")
    records = own_pairs(1100)
    tokenizer = BPETokenizer.train([f"{pair['instruction']} {pair['rejected']}" for pair in records], 1024)
print(f"number of entries: {len(records)}")
for number in (50, 999):
    print(f"entry {number}: {records[number]}")

# %% [markdown]
# The questions are chapter 7's, and so is their form: Alpaca's.

# %%
alpaca = PROMPT_STYLES["alpaca"]
print(f"--- entry 50, the question ---\n{alpaca.prompt(records[50])}")
for kind in ("chosen", "rejected"):
    print(f"--- its answer, {kind} ---\n{alpaca.before_response.strip()}\n{records[50][kind]}")
print("---")

# %%
print("\n== 2.2) Creating training, validation, and test splits ==")
train_records, test_records, validation_records = split_records(records)
print(f"training {len(train_records)}, validation {len(validation_records)}, test {len(test_records)}")

# %% [markdown]
# ## Pairs and masks
#
# A text of the batch is a question with one of its answers. Both answers share the question, so it does not count: a
# mask marks the tokens of the answer, from its heading (without the two line breaks before it) to its last token. All
# texts of a batch, chosen and rejected, are padded to one width.

# %%
print("\n== 2.3) Developing a `PreferenceDataset` class and batch processing function ==")
pad_id = tokenizer.encode("<|endoftext|>", allowed_special="all")[0]


def pairs_as_rows(batch: list[dict]) -> dict[str, np.ndarray]:
    """Padded ids of the chosen and the rejected texts, and a mask for each."""
    questions = [tokenizer.encode_ordinary(alpaca.prompt(record)) for record in batch]
    texts = {
        kind: [tokenizer.encode_ordinary(alpaca.answered(record, record[kind])) for record in batch]
        for kind in ("chosen", "rejected")
    }
    width = max(len(row) for rows in texts.values() for row in rows) + 1
    arrays = {}
    for kind, rows in texts.items():
        arrays[kind] = np.array([row + [pad_id] * (width - len(row)) for row in rows])
        mask = np.zeros((len(rows), width), bool)
        for line, row, question in zip(mask, rows, questions, strict=True):
            line[len(question) + 2 : len(row)] = True
        arrays[f"{kind}_mask"] = mask
    return arrays


example = pairs_as_rows(records[:2])
print(f"chosen:\n{example['chosen']}")
print(f"chosen inputs: {example['chosen'][0].shape}, chosen mask: {example['chosen_mask'][0].shape}")
print(f"mask of the first:\n{example['chosen_mask'][0].astype(int)}")
for kind in ("chosen", "rejected"):
    ids, mask = example[kind][0], example[f"{kind}_mask"][0]
    print(f"--- what counts, {kind} ---\n{tokenizer.decode(ids[mask])}")
print("---")
package_example = collate_preferences(PreferenceDataset(records[:2], tokenizer).items, pad_id)
same = all(np.array_equal(example[name], array) for name, array in package_example._asdict().items())
print(f"PreferenceDataset and collate_preferences give the same: {same}")

# %%
print("\n== 2.4) Creating training, validation, and test set data loaders ==")
collate_pairs = partial(collate_preferences, pad_id=pad_id, allowed_max_length=1024)


def pair_loader(part: list, shuffle: bool, generator: Generator | None = None) -> DataLoader:
    """Batches of eight pairs."""
    dataset = PreferenceDataset(part, tokenizer)
    return DataLoader(dataset, 8, shuffle, drop_last=shuffle, collate_fn=collate_pairs, generator=generator)


manual_seed(123)
train_batches = list(pair_loader(train_records, shuffle=True))
print(f"{len(train_batches)} batches of {len(train_batches[0].chosen)}, their widths:")
print([batch.chosen.shape[1] for batch in train_batches])
same = all(batch.chosen.shape == batch.rejected.shape for batch in train_batches)
print(f"widths of chosen and rejected are the same: {same}")

# %% [markdown]
# ## The two models
#
# The book loads the GPT-2 (355M) that was fine-tuned in chapter 7. Neither its weights nor those of GPT-2 are at hand
# here, so the losses during training and the answers of the book's model cannot be reproduced. What does not depend
# on weights is the same: before training, model and reference are equal.
#
# The model here is a small GPT that first learns both kinds of answers, polite and rude, so that it starts without a
# preference. Its vocabulary is trained here too, because most of GPT-2's 50,257 tokens would never occur.

# %%
print("\n== 3) Loading a finetuned LLM for DPO alignment ==")
print("GPT-2's weights are out of reach here; a small GPT trained on both kinds of answers replaces it")
texts = [alpaca.answered(record, record[kind]) for record in train_records for kind in ("chosen", "rejected")]
tokenizer = BPETokenizer.train(texts, 1024)
pad_id = tokenizer.encode("<|endoftext|>", allowed_special="all")[0]
collate_pairs = partial(collate_preferences, pad_id=pad_id, allowed_max_length=256)
manual_seed(123)
sizes = {"embedding_dim": 128, "num_layers": 3} if full else {"embedding_dim": 64, "num_layers": 2}
config = GPTConfig(tokenizer.vocab_size, 256, num_heads=4, dropout=0.0, tie_weights=True, **sizes)
model = GPT(config, init="gpt2")
print(f"the small GPT: {model.num_parameters():,} parameters, {tokenizer.vocab_size} tokens")


def both_answers(part: list) -> InstructionDataset:
    """Each question twice: with the chosen answer, and with the rejected one."""
    twice = [{**record, "output": record[kind]} for record in part for kind in ("chosen", "rejected")]
    return InstructionDataset(twice, tokenizer)


collate_answers = partial(collate_instructions, pad_id=pad_id, allowed_max_length=256)
watched = list(DataLoader(both_answers(validation_records), 8, collate_fn=collate_answers))
answers = DataLoader(both_answers(train_records), 8, True, True, collate_answers, Generator(123))
settings = TrainingSettings(
    steps=600 if full else 250, learning_rate=5e-3, min_learning_rate=5e-4, warmup_steps=20, eval_interval=0
)
start = time.perf_counter()
print(f"validation loss before: {evaluate(model, watched):.3f}")
Trainer(model, answers, settings).train()
seconds = time.perf_counter() - start
learned = evaluate(model, watched)
print(f"validation loss after {settings.steps} steps: {learned:.3f} ({seconds:.0f} s)")

reference = frozen_copy(model)
print(
    f"trainable tensors: model {sum(p.requires_grad for p in model.parameters())}, "
    f"reference {sum(p.requires_grad for p in reference.parameters())}"
)

# %% [markdown]
# ## The loss, step by step
#
# The log-probability of a token is its logit minus ln Σ eˣ over all tokens, that is, its entry of log-softmax. The
# book selects it with `gather`; here an index does.

# %%
print("\n== 4) Coding the DPO Loss Function ==")
logits, classes = Tensor([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]]), np.array([0, 2])
log_probabilities = logits - logits.exp().sum(axis=1, keepdims=True).log()
by_hand = -log_probabilities[np.arange(2), classes].mean()
print(f"picked by hand: {by_hand.item():.4f}; F.cross_entropy: {F.cross_entropy(logits, classes).item():.4f}")
table, places = Tensor([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 1], [0, 1]])
print(f"picked from a table:\n{table[np.arange(2)[:, None], places].data}")


# %% [markdown]
# Each position predicts the next token, so the last position of the logits and the first of labels and mask are
# dropped. The mean over counted tokens gives long and short answers the same weight.


# %%
def mean_log_probability(logits: Tensor, ids: np.ndarray, mask: np.ndarray) -> Tensor:
    """The mean log-probability of each row's marked tokens. Shapes: (B, T, V), (B, T), (B, T) -> (B,)"""
    labels, mask = ids[:, 1:], mask[:, 1:]
    log_probabilities = F.log_softmax(logits[:, :-1])
    rows, places = np.indices(labels.shape)
    return (log_probabilities[rows, places, labels] * mask).sum(axis=1) / mask.sum(axis=1)


def plain_dpo_loss(model: GPT, reference: GPT, batch: PreferenceBatch, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """The mean loss of a batch, and the mean rewards of its chosen and its rejected answers."""
    of_model, of_reference = (
        [
            mean_log_probability(network(ids), ids, mask)
            for ids, mask in ((batch.chosen, batch.chosen_mask), (batch.rejected, batch.rejected_mask))
        ]
        for network in (model, reference)
    )
    chosen_rewards, rejected_rewards = (ours - theirs for ours, theirs in zip(of_model, of_reference, strict=True))
    loss = -((chosen_rewards - rejected_rewards) * beta).sigmoid().log().mean()
    return loss, chosen_rewards.mean(), rejected_rewards.mean()


small_batch = collate_pairs(PreferenceDataset(records[:8], tokenizer).items)
chosen_side, rejected_side = small_batch[::2], small_batch[1::2]  # each its ids and its mask
with no_grad():
    loss, chosen, rejected = plain_dpo_loss(model, reference, small_batch, beta=0.1)
print(
    f"before training: loss {loss.item():.6f}, ln 2 is {math.log(2):.6f}; "
    f"rewards {chosen.item():.4f} and {rejected.item():.4f}"
)

# %% [markdown]
# The package computes logits at the counted positions only, and passes both answers through a model at once. The
# comparison needs a model that differs from the reference: one step of plain gradient descent on this loss. Gradients
# are compared as well.

# %%
dpo = DPO(reference, beta=0.1)
plain_dpo_loss(model, reference, small_batch, beta=0.1)[0].backward()
plain_gradients = {name: p.grad.copy() for name, p in model.named_parameters()}
model.zero_grad()
dpo(model, small_batch).backward()
worst = max(np.abs(p.grad - plain_gradients[name]).max() for name, p in model.named_parameters())
print(f"gradients, plain against the package's: largest difference {worst:.1e}")

moved = frozen_copy(model)
for name, parameter in moved.named_parameters():
    parameter.data -= 0.5 * plain_gradients[name]
model.zero_grad()
with no_grad():
    loss, chosen, rejected = plain_dpo_loss(moved, reference, small_batch, beta=0.1)
    outcome = dpo.outcome(moved, small_batch)
    parts = [
        sequence_log_probs(network, *side) for network in (moved, reference) for side in (chosen_side, rejected_side)
    ]
print(f"after one step: loss {loss.item():.6f}, margin {(chosen - rejected).item():.4f}")
ours = [loss.item(), chosen.item(), rejected.item(), loss.item()]
rewards = outcome.chosen_rewards.mean(), outcome.rejected_rewards.mean()
theirs = [outcome.loss.item(), *rewards, dpo_loss(*parts).item()]
difference = np.abs(np.subtract(ours, theirs)).max()
print(f"loss and rewards, plain against DPO and dpo_loss: largest difference {difference:.1e}")

# %% [markdown]
# ## Training
#
# The training loop is the same, with another loss. The book trains for one epoch with a small learning rate, and so
# does this demo, because DPO only compares: with too much training the margin grows while the answers get worse. Look
# at both rewards, not only at their difference: with the book's pairs the chosen answers become less likely too, only
# less so than the rejected ones, and the loss of both as plain text, printed last, rises.

# %%
print("\n== 5) Training the model ==")
held_out = {
    part: list(DataLoader(PreferenceDataset(pairs, tokenizer), 8, collate_fn=collate_pairs))
    for part, pairs in (("validation", validation_records), ("test", test_records))
}


def show_preferences(when: str) -> None:
    """Loss, rewards and accuracy on pairs that are not trained on."""
    for part, batches in held_out.items():
        found = evaluate_preferences(model, dpo, batches)
        print(
            f"{when}, {part}: loss {found.loss:.6f}, reward margin {found.margin:.3f} "
            f"({found.chosen_reward:.3f} less {found.rejected_reward:.3f}), "
            f"the chosen one ahead in {100 * found.accuracy:.1f}% of {found.count} pairs"
        )


show_preferences("before training")
settings = TrainingSettings(
    steps=len(train_batches),
    learning_rate=2e-4,
    min_learning_rate=2e-5,
    warmup_steps=10,
    weight_decay=0.01,
    eval_interval=0,
)
trainer = Trainer(model, pair_loader(train_records, shuffle=True, generator=Generator(123)), settings, loss=dpo)
start = time.perf_counter()
for quarter in (1, 2, 3, 4):
    trainer.train(until=settings.steps * quarter // 4)
    show_preferences(f"step {trainer.step}")
print(f"one epoch took {time.perf_counter() - start:.0f} s")
print(f"validation loss of both answers, once {learned:.3f}: {evaluate(model, watched):.3f}")
