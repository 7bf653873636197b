# %% [markdown]
# # Chapter 2: from a text to the vectors that a model reads
#
# Text becomes words, words become ids, ids become windows, windows become batches, and batches become vectors. Each
# step is first written out and then compared with the package's function.
#
# The text is Edith Wharton's story "The Verdict". Set TINYGRAD_LLM_DATA to a folder that holds `the-verdict.txt` and
# `gpt2/` (`encoder.json`, `vocab.bpe`), or fetch both once:
#
#     python -c "from tinygrad_llm.text import corpora; corpora.download('the-verdict')"
#     python -c "from tinygrad_llm.text import corpora; corpora.download('gpt2-vocabulary')"
#
# Without them the demo reads another text and prints a note. It takes about a second.

# %%
import argparse
import builtins
import inspect
import re

import numpy as np

from tinygrad_llm import Tensor, manual_seed, nn
from tinygrad_llm.data import DataLoader, SlidingWindows
from tinygrad_llm.errors import DataError, TokenizerError
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import (
    BPETokenizer,
    GPT2Tokenizer,
    SimpleTokenizerV1,
    SimpleTokenizerV2,
    build_vocabulary,
    corpora,
    split_words,
)

end_quietly()

options = argparse.ArgumentParser(description="Chapter 2 of the book: tokenizers, windows, batches and embeddings.")
options.add_argument("--full", action="store_true", help="changes nothing here: the chapter is run at its full size")
options.parse_known_args()  # not parse_args: a notebook that runs these cells has arguments of its own
np.set_printoptions(precision=4, suppress=True, floatmode="fixed", threshold=100)

try:
    text = corpora.load_text("the-verdict")
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run reads the documentation of Python's built-ins instead; its figures are not the book's.\n")
    text = "\n".join(inspect.getdoc(thing) or "" for thing in vars(builtins).values() if isinstance(thing, type))

# %% [markdown]
# The first section explains, without code, why words are represented by numbers: a network computes with vectors, and
# words that are used alike should have vectors that are close together. Section 2.7 makes such vectors.

# %%
print("== 2.1 Understanding word embeddings ==")

# %% [markdown]
# ## Words
#
# `re.split` with a group keeps the separators. Splitting at whitespace leaves punctuation attached to words;
# splitting at punctuation as well makes each mark a token of its own, with empty strings in between that are dropped.

# %%
print("\n== 2.2 Tokenizing text ==")
print(f"number of characters: {len(text)}")
print(f"beginning: {text[:99]!r}")
print(re.split(r"(\s)", "Hello, world. This, is a test."))
print(re.split(r"([,.]|\s)", "Hello, world. This, is a test."))
print([part for part in re.split(r"([,.]|\s)", "Hello, world. This, is a test.") if part.strip()])

PUNCTUATION = r"""([,.:;?_!"()']|--|\s)"""


def words_of(text: str) -> list[str]:
    """Words, punctuation marks and double dashes, without the whitespace between them."""
    return [part for part in re.split(PUNCTUATION, text) if part.strip()]


print(words_of("Hello, world. Is this-- a test?"))
words = words_of(text)
print(f"number of word tokens: {len(words)}")
print(f"first thirty: {words[:30]}")
print(f"the package's split_words gives the same: {split_words(text) == words}")

# %% [markdown]
# ## Ids
#
# A vocabulary gives each distinct word an id, in alphabetical order. Encoding looks up words, decoding looks up ids.

# %%
print("\n== 2.3 Converting tokens into token IDs ==")
vocabulary = {word: number for number, word in enumerate(sorted(set(words)))}
print(f"vocabulary: {len(vocabulary)} words")
print(f"its first 51 entries: {list(vocabulary.items())[:51]}")

sample = '"It\'s the last he painted, you know," Mrs. Gisburn said with pardonable pride.'
if not all(word in vocabulary for word in words_of(sample)):
    sample = " ".join(text.split()[:12])
ids = [vocabulary[word] for word in words_of(sample)]
print(f"{sample}\n-> {ids}")

first_tokenizer = SimpleTokenizerV1(build_vocabulary(text))
print(f"SimpleTokenizerV1 gives the same: {first_tokenizer.encode(sample) == ids}")
print(f"and back: {first_tokenizer.decode(ids)}")

# %% [markdown]
# ## Special tokens
#
# The first tokenizer cannot encode a word that is not in its vocabulary. Two more entries help: `<|unk|>` for any
# unknown word, and `<|endoftext|>` between texts that have nothing to do with each other.

# %%
print("\n== 2.4 Adding special context tokens ==")
try:
    first_tokenizer.encode("Hello, do you like tea. Is this-- a test?")
except TokenizerError as error:
    print(f"TokenizerError: {error}")

for special in ("<|endoftext|>", "<|unk|>"):
    vocabulary[special] = len(vocabulary)
print(f"vocabulary: {len(vocabulary)} entries, the last five {list(vocabulary.items())[-5:]}")

joined = " <|endoftext|> ".join(("Hello, do you like tea?", "In the sunlit terraces of the palace."))
ids = [vocabulary.get(word, vocabulary["<|unk|>"]) for word in words_of(joined)]
print(f"{joined}\n-> {ids}")
second_tokenizer = SimpleTokenizerV2.train(text)
print(f"SimpleTokenizerV2 gives the same: {second_tokenizer.encode(joined) == ids}")
print(f"and back: {second_tokenizer.decode(ids)}")

# %% [markdown]
# ## Byte pair encoding
#
# GPT-2 has no unknown words. Its vocabulary starts from the 256 bytes, of which every text is made, and adds 50,000
# tokens, each the concatenation (a merge) of two earlier ones. Frequent merges were learned first and have the lower
# ids. Encoding repeats the merges: split the text into words with their leading space, and in each word merge the
# neighbouring pair of lowest id until no pair is in the vocabulary.

# %%
print("\n== 2.5 Byte pair encoding ==")
try:
    corpora.find("gpt2-vocabulary")
    tokenizer: BPETokenizer = GPT2Tokenizer()
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run trains a small BPE vocabulary on its text instead; its ids are not the book's.")
    tokenizer = BPETokenizer.train(text, vocab_size=1000)
print(f"{tokenizer.vocab_size} tokens, <|endoftext|> is {tokenizer.end_of_text}")
id_of = {tokenizer.token_bytes(number): number for number in range(tokenizer.vocab_size)}

PIECES = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def join_pairs(piece: str, show: bool = False) -> list[int]:
    """The ids of one word: merges the neighbouring pair of lowest id first."""
    parts = [bytes([byte]) for byte in piece.encode()]
    while True:
        pairs = [parts[place] + parts[place + 1] for place in range(len(parts) - 1)]
        joins = [(id_of[pair], place) for place, pair in enumerate(pairs) if pair in id_of]
        if show:
            print("   ", " | ".join(part.decode(errors="replace") for part in parts))
        if not joins:
            return [id_of[part] for part in parts]
        place = min(joins)[1]
        parts[place : place + 2] = [pairs[place]]


print("how ' terraces' is put together:")
join_pairs(" terraces", show=True)

unknown = "Hello, do you like tea? <|endoftext|> In the sunlit terracesof someunknownPlace."
ids = tokenizer.encode(unknown, allowed_special={"<|endoftext|>"})
print(f"{unknown}\n-> {ids}")
print(f"and back: {tokenizer.decode(ids)}")

# %% [markdown]
# **Exercise 2.1**: a word that does not exist is split into pieces, down to single letters, and decodes to itself.

# %%
ids = tokenizer.encode("Akwirw ier")
print(f"exercise 2.1: 'Akwirw ier' -> {ids}")
for number in ids:
    print(f"    {number} -> {tokenizer.decode([number])!r}")
print(f"    together: {tokenizer.decode(ids)!r}")
by_hand = [number for piece in PIECES.findall("Akwirw ier") for number in join_pairs(piece)]
print(f"joining pairs by hand gives the same: {by_hand == ids}")

# %% [markdown]
# ## Windows
#
# A language model learns to predict the next token. A window of ids gives as many training examples as it has tokens:
# the inputs are the window, the targets are the same window shifted by one.

# %%
print("\n== 2.6 Data sampling with a sliding window ==")
token_ids = tokenizer.encode(text)
print(f"the text has {len(token_ids)} BPE tokens")
by_hand = [number for piece in PIECES.findall(text) for number in join_pairs(piece)]
print(f"joining pairs by hand over the whole text gives the same: {by_hand == token_ids}")
stretch = token_ids[50:]
print(f"tokens 50 to 54: {stretch[:5]}")
print(f"x: {stretch[:4]}\ny:      {stretch[1:5]}")
for length in range(1, 5):
    context, following = stretch[:length], stretch[length]
    print(f"{context} ----> {following}: {tokenizer.decode(context)!r} ----> {tokenizer.decode([following])!r}")


def windows_of(ids: list[int], length: int, stride: int) -> list[tuple[list[int], list[int]]]:
    """Every window of `length` ids that has a target for each, with those targets."""
    starts = range(0, len(ids) - length, stride)
    return [(ids[start : start + length], ids[start + 1 : start + length + 1]) for start in starts]


def batches_of(length: int, stride: int, batch_size: int) -> DataLoader:
    """The package's windows of the text in order, in full batches."""
    return DataLoader(SlidingWindows(token_ids, length, stride), batch_size=batch_size, drop_last=True)


batches = iter(batches_of(length=4, stride=1, batch_size=1))
for name in ("first", "second"):
    inputs, targets = next(batches)
    print(f"stride 1, {name} batch: {inputs.tolist()} {targets.tolist()}")
inputs, targets = next(iter(batches_of(length=4, stride=4, batch_size=8)))
print(f"stride 4, eight windows:\n{inputs}\ntheir targets:\n{targets}")

plain = windows_of(token_ids, 4, 4)
same = [(x.tolist(), y.tolist()) for x, y in SlidingWindows(token_ids, 4, 4)] == plain
print(f"cutting {len(plain)} windows by hand gives the same: {same}")

# %% [markdown]
# **Exercise 2.2**: other lengths and strides. A stride below the length makes windows overlap.

# %%
for length in (2, 8):
    inputs, _ = next(iter(batches_of(length, stride=2, batch_size=4)))
    print(f"exercise 2.2, length {length}, stride 2:\n{inputs}")

# %% [markdown]
# ## Vectors
#
# An embedding is a table with one row per id, random at first and then learned. Looking up a row equals multiplying a
# one-hot vector by the table, values and gradients alike, and needs no multiplication.

# %%
print("\n== 2.7 Creating token embeddings ==")
manual_seed(123)
embedding = nn.Embedding(6, 3)
print(f"table:\n{embedding.weight.data}")
print(f"of id 3: {embedding([3]).data}")
print(f"of ids 2, 3, 5, 1:\n{embedding([2, 3, 5, 1]).data}")

chosen = np.array([2, 3, 5, 1, 3])  # 3 comes twice: its row collects two gradients
one_hot = Tensor(np.eye(6, dtype=np.float32)[chosen])
gradients = []
for result in (one_hot @ embedding.weight, embedding(chosen)):
    embedding.zero_grad()
    (result * result).sum().backward()
    gradients.append(embedding.weight.grad)
difference = np.abs((one_hot @ embedding.weight - embedding(chosen)).data).max()
print(f"one-hot product against look-up: largest difference {difference:.1e}")
print(f"of their gradients: {np.abs(gradients[0] - gradients[1]).max():.1e}")

# %% [markdown]
# The embedding of a token does not depend on its position. A second table, with a row for each position, is added.

# %%
print("\n== 2.8 Encoding word positions ==")
token_table = nn.Embedding(50257, 256)
inputs, _ = next(iter(batches_of(length=4, stride=4, batch_size=8)))
print(f"token ids, shape {inputs.shape}:\n{inputs}")
token_embeddings = token_table(inputs)
position_table = nn.Embedding(4, 256)
position_embeddings = position_table(np.arange(4))
input_embeddings = token_embeddings + position_embeddings
for name, vectors in (
    ("token embeddings", token_embeddings),
    ("position embeddings", position_embeddings),
    ("their sum", input_embeddings),
):
    print(f"{name}, shape {vectors.shape}:\n{vectors.data}")
