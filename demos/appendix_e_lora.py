# %% [markdown]
# # Appendix E: LoRA, training a fiftieth of the parameters
#
# Fine-tuning adds a change to each weight matrix. LoRA (Hu et al. 2021) assumes that this change has a low rank: it
# is the product of two thin matrices. The weights stay frozen, and only these two matrices are trained. Here the
# layer is written out first, then put around every linear layer of the spam filter of chapter 6, and compared with
# the package's `apply_lora`.
#
# Set TINYGRAD_LLM_DATA to a folder that holds `sms_spam_collection.tsv` and `gpt2/` (`encoder.json`, `vocab.bpe`), or
# fetch both once:
#
#     python -c "from tinygrad_llm.text import corpora; corpora.download('sms-spam')"
#     python -c "from tinygrad_llm.text import corpora; corpora.download('gpt2-vocabulary')"
#
# Without them the demo classifies requests that it generates itself, and prints a note. It takes half a minute, for a
# small model. `--full` trains the book's 124M model with LoRA, which takes hours on a laptop: from random weights,
# or, with `--gpt2 FOLDER`, from GPT-2's own in a Hugging Face folder, as the book does.

# %%
import argparse
import copy
import itertools
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from tinygrad_llm import Generator, Tensor, default_generator, manual_seed, nn, no_grad
from tinygrad_llm.data import (
    END_OF_TEXT_ID,
    ClassificationDataset,
    DataLoader,
    LabelledText,
    WindowLoader,
    balance,
    instruction_tasks,
    label_names,
    random_split,
    read_labelled_texts,
)
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune import (
    Classifier,
    apply_lora,
    classification_loss,
    evaluate_classifier,
    load_lora,
    merge_lora,
    save_lora,
    unmerge_lora,
)
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import BPETokenizer, GPT2Tokenizer, corpora
from tinygrad_llm.train import Callback, Trainer, TrainingSettings, duration

end_quietly()

options = argparse.ArgumentParser(description="Appendix E of the book: LoRA, from the layer to a trained adapter.")
options.add_argument("--full", action="store_true", help="train the book's 124M model with LoRA")
options.add_argument("--gpt2", type=Path, metavar="FOLDER", help="with --full: a Hugging Face folder of GPT-2")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own
np.set_printoptions(precision=4, suppress=True, floatmode="fixed", linewidth=100)

# %% [markdown]
# Training changes a matrix W by ΔW, of the same shape. The product A B of an (in, rank) and a (rank, out) matrix has
# that shape with far fewer numbers: for a 768 x 768 matrix and rank 16, 24,576 instead of 589,824. Because x (W + A
# B) = x W + x A B, the change can be computed separately from W, or added to it after training.

# %%
print("== E.1 Introduction to LoRA ==")
generator = manual_seed(123)
x, W = Tensor(generator.randn(2, 768)), Tensor(generator.randn(768, 768))
A, B = Tensor(generator.randn(768, 16)), Tensor(generator.randn(16, 768))
print(f"numbers in W: {W.size:,}, in A and B: {A.size + B.size:,}; shape of A B: {(A @ B).shape}")
beside, added = (x @ W + x @ A @ B).data, (x @ (W + A @ B)).data
print(
    f"apart from W or added to it: largest relative difference {np.abs(beside - added).max() / np.abs(added).max():.0e}"
)

# %% [markdown]
# The messages, splits and batches are those of chapter 6, made by the package's functions.

# %%
print("\n== E.2 Preparing the dataset ==")
try:
    texts = read_labelled_texts(corpora.find("sms-spam"), text_column=1, label_column=0)
    corpora.find("gpt2-vocabulary")
    tokenizer: BPETokenizer = GPT2Tokenizer()
    books_data = True
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run makes requests and sorts them by their answers; figures made from them are not the book's.")
    texts = [
        LabelledText(f"{record['instruction']} {record['input']}", "number" if record["output"].isdigit() else "words")
        for record in instruction_tasks(4000, Generator(123))
    ]
    tokenizer = BPETokenizer.train([text.text for text in texts[:1000]], vocab_size=512)
    books_data = False

names = label_names(texts)
parts = random_split(balance(texts))
pad_id = END_OF_TEXT_ID if books_data else tokenizer.end_of_text
longest = ClassificationDataset(parts[0], tokenizer, names, pad_id=pad_id).max_length
manual_seed(123)
sets = [ClassificationDataset(part, tokenizer, names, longest, pad_id) for part in parts]
ids, classes, _ = list(DataLoader(sets[0], batch_size=8, shuffle=True, drop_last=True))[-1]
print(f"last batch: inputs {ids.shape}, classes {classes.shape}")
print("batches: " + ", ".join(str(len(DataLoader(part, 8, drop_last=part is sets[0]))) for part in sets))

# %% [markdown]
# ## The model
#
# The book starts from GPT-2's own weights; its first accuracies of 46.25%, 45.00% and 48.75% come out only with
# `--full --gpt2 FOLDER`. Here a small model, pretrained for a few seconds on the messages that it is not tested on,
# replaces it. The head reads the last real token of a message.

# %%
print("\n== E.3 Initializing the model ==")
book_size = arguments.full and books_data
if arguments.full and not book_size:
    print("NOTE: --full needs the messages and GPT-2's vocabulary; this run stays small.")
if book_size:
    manual_seed(123)
    config = GPTConfig(dropout=0.0, qkv_bias=True)
    body = GPT.from_pretrained(arguments.gpt2, dropout=0.0) if arguments.gpt2 else GPT(config)
else:
    held_out = {text.text for part in parts[1:] for text in part}
    unlabelled = [text.text for text in texts if text.text not in held_out]
    tokenizer = BPETokenizer.train(unlabelled, vocab_size=1024)
    pad_id = tokenizer.end_of_text
    longest = ClassificationDataset(parts[0], tokenizer, names, pad_id=pad_id).max_length
    sets = [ClassificationDataset(part, tokenizer, names, longest, pad_id) for part in parts]
    manual_seed(123)
    sizes = {"embedding_dim": 48, "num_heads": 2, "num_layers": 2, "dropout": 0.0, "tie_weights": True}
    body = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, context_length=longest, **sizes), init="gpt2")
    stream = [token for text in unlabelled for token in [*tokenizer.encode_ordinary(text), pad_id]]
    pretraining = TrainingSettings(steps=200, learning_rate=5e-3, warmup_steps=20, eval_interval=0, seed=123)
    started = time.perf_counter()
    Trainer(body, WindowLoader(np.array(stream), min(64, longest), 16), pretraining).train()
    print(f"pretrained a body of {body.num_parameters():,} parameters in {duration(time.perf_counter() - started)}")

manual_seed(123)
pooling = "padded_last" if book_size else "last"  # the book reads the last place of the padded row
model = Classifier(body, names, pooling=pooling, trainable="all").eval()
base = {name: array.copy() for name, array in model.state_dict().items()}


def shares_right(model: Classifier, batches: int | None = None) -> list[float]:
    """The accuracy on the first batches of eight of each part; those of the training part in a new order."""
    shares = []
    for part in sets:
        loader = DataLoader(part, batch_size=8, shuffle=part is sets[0], drop_last=part is sets[0])
        shares.append(evaluate_classifier(model, itertools.islice(loader, batches)).accuracy)
    return shares


manual_seed(123)
print("untrained, accuracy of 10 batches: " + ", ".join(f"{share:.2%}" for share in shares_right(model, 10)))

# %% [markdown]
# ## The layer
#
# A starts with random numbers and B with zeros. So A B is zero at first and changes nothing; yet B has a gradient,
# because A is not zero, and after the first step A has one too. The factor alpha scales the change.
#
# A's initial values are those of PyTorch's `kaiming_uniform_`, uniform in ±1/√(fan-in). That function takes the last
# axis for the fan-in; A is stored as (in, rank), so the bound is 1/√rank and not 1/√in. With A transposed, other
# figures come out.

# %%
print("\n== E.4 Parameter-efficient finetuning with LoRA ==")


class LowRankChange(nn.Module):
    """alpha · x A B. Shapes: (..., in) -> (..., out)."""

    def __init__(self, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        bound = 1 / math.sqrt(rank)
        self.A = nn.Parameter(default_generator().uniform(-bound, bound, (inputs, rank)))
        self.B = nn.Parameter(np.zeros((rank, outputs), np.float32))
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return self.alpha * (x @ self.A @ self.B)


class LinearWithChange(nn.Module):
    """A linear layer plus its low-rank change."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        self.linear = linear
        self.change = LowRankChange(linear.in_features, linear.out_features, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.change(x)


def change_every_linear(module: nn.Module, rank: int, alpha: float) -> None:
    """Put a `LinearWithChange` around each linear layer of a module, at any depth."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, LinearWithChange(child, rank, alpha))
        elif isinstance(child, nn.ModuleList):
            for part in child:
                change_every_linear(part, rank, alpha)
        else:
            change_every_linear(child, rank, alpha)


with nn.init.no_initial_values():  # to be counted only: zeros that are never touched take no memory
    for rank in (16, 8):
        counted = GPT(GPTConfig(dropout=0.0, qkv_bias=True))
        counted.head = nn.Linear(768, 2)
        print(f"the book's model, trainable parameters: {counted.num_parameters(trainable_only=True):,}", end=", ")
        counted.requires_grad_(False)
        print(f"frozen: {counted.num_parameters(trainable_only=True)}", end=", ")
        change_every_linear(counted, rank, alpha=rank)
        print(f"with LoRA of rank {rank}: {counted.num_parameters(trainable_only=True):,}")
        packaged = GPT(GPTConfig(dropout=0.0, qkv_bias=True))
        packaged.head = nn.Linear(768, 2)
        wrapped = apply_lora(packaged, rank, alpha=rank, scaling="alpha")
        same = packaged.num_parameters(trainable_only=True) == counted.num_parameters(trainable_only=True)
        print(f"apply_lora, around {len(wrapped)} layers, counts the same: {same}")
del counted, packaged

# %% [markdown]
# At the start the model gives the same outputs, to the last bit, because the change is zero. From one seed the
# package's layers start with the same A, and have the same gradients.

# %%
ids, classes, lengths = next(iter(DataLoader(sets[1], batch_size=8)))
with no_grad():
    before = model(ids, lengths).data
plain = copy.deepcopy(model)
manual_seed(123)
plain.requires_grad_(False)
change_every_linear(plain, rank=16, alpha=16)
manual_seed(123)
layers = apply_lora(model, rank=16, alpha=16, scaling="alpha")
print(f"this run's model: {model.num_parameters(trainable_only=True):,} of {model.num_parameters():,} parameters learn")
print(model.body.blocks[0])
with no_grad():
    print(f"outputs with untrained LoRA are the same: {np.array_equal(model(ids, lengths).data, before)}")
manual_seed(123)
print("untrained, accuracy with LoRA: " + ", ".join(f"{share:.2%}" for share in shares_right(model, 10)))

for either in (plain, model):
    either.loss(ids, classes, lengths).backward()
theirs = dict(model.named_parameters())
pairs = [
    (parameter, theirs[name.replace("change.A", "lora_A").replace("change.B", "lora_B")])
    for name, parameter in plain.named_parameters()
    if parameter.requires_grad
]
difference = max(np.abs(ours.data - other.data).max() for ours, other in pairs)
print(f"LowRankChange against LoRALinear, first values: largest difference {difference:.1e}")
difference = max(np.abs(ours.grad - other.grad).max() for ours, other in pairs)
print(f"LowRankChange against LoRALinear, gradients: largest difference {difference:.1e}")
of_A, of_B = (max(np.abs(theirs[name].grad).max() for name in theirs if name.endswith(end)) for end in ("_A", "_B"))
print(f"largest gradient of any A: {of_A:.1f}, of any B above 0: {of_B > 0}")
model.zero_grad()
del plain, theirs, pairs

# %% [markdown]
# ## Training
#
# Only A and B are given to the optimizer. The book trains for five epochs at a learning rate of 0.0008, and reaches
# 100%, 96.64% and 98.00% from GPT-2's weights. LoRA depends on what the frozen model already represents: here that is
# little, and training the whole small model (exercise 6.2 of chapter 6) reaches a higher accuracy.


# %%
class LossEvery130Steps(Callback):
    """Prints the training loss, as a mean over the steps since the last line."""

    def __init__(self) -> None:
        self.recent: list[float] = []

    def step_finished(self, trainer: Trainer, record: dict) -> None:
        self.recent.append(record["train_loss"])
        if record["step"] % 130 == 0:
            print(f"step {record['step']}: training loss {np.mean(self.recent):.3f}")
            self.recent = []


epochs, rate = (5, 8e-4) if book_size else (4, 5e-4)
loader = DataLoader(sets[0], batch_size=8, shuffle=True, drop_last=True, generator=Generator(123))
settings = TrainingSettings(
    steps=epochs * len(loader),
    learning_rate=rate,
    min_learning_rate=rate / 10,
    warmup_steps=30,
    eval_interval=0,
    seed=123,
)
started = time.perf_counter()
Trainer(model, loader, settings, loss=classification_loss, callbacks=[LossEvery130Steps()]).train()
print(f"{settings.steps} steps in {duration(time.perf_counter() - started)}")
model.eval()
trained = shares_right(model)
for name, share in zip(("training", "validation", "test"), trained, strict=True):
    print(f"trained, {name} accuracy: {share:.2%}")
now = {name.replace(".linear.", "."): array for name, array in model.state_dict().items() if "lora_" not in name}
untouched = now.keys() == base.keys() and all(np.array_equal(now[name], base[name]) for name in base)
print(f"all {len(base)} arrays of the base model are the same, bit for bit: {untouched}")

# %% [markdown]
# ## Merging, and adapters as files
#
# Merging adds α (AB)ᵀ into each weight: the model is then as fast as without LoRA. Taking it back gives the old bits,
# because the old weights were kept. The adapter alone is a small file; any number of them can share one base.

# %%
with no_grad():
    apart = model(ids, lengths).data
    merge_lora(model)
    merged = model(ids, lengths).data
    print(f"merged against apart: largest difference {np.abs(merged - apart).max():.1e}")
    print(f"merged, parameter names are the same as the base's: {model.state_dict().keys() == base.keys()}")
    unmerge_lora(model)
    print(f"unmerged, outputs are the same, bit for bit: {np.array_equal(model(ids, lengths).data, apart)}")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "adapter.safetensors"
    save_lora(model, path)
    size, whole = path.stat().st_size, sum(array.nbytes for array in base.values())
    print(f"{path.name}: {size:,} bytes; the base model has {whole:,}")
    with nn.init.no_initial_values():
        fresh = Classifier(GPT(model.config.body), names, pooling=pooling)
    fresh.load_state_dict(base)
    load_lora(fresh, path)
with no_grad():
    print(f"a fresh base with the adapter gives the same: {np.array_equal(fresh.eval()(ids, lengths).data, apart)}")
