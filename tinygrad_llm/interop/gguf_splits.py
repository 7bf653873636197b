"""How byte-level tokenizers in GGUF files split a text before merging: a table of the names in `tokenizer.ggml.pre`.

A GGUF file holds the name of the way to split, not the patterns. Each entry here is a list of patterns, applied one
after the other: the first cuts the text into its matches and what lies between, the next cuts each of these pieces, and
so on. The names and their meaning are llama.cpp's; where its patterns only imitate those of the model's own
tokenizer.json, these are the original ones. A name that is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGIT = r"\p{N}"


def _words(numbers: str) -> str:
    """The pattern of tiktoken's cl100k, with its `numbers`."""
    return rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}"


def _cased_words(numbers: str, ending: str) -> str:
    """The pattern of tiktoken's o200k, which splits before a capital that follows a small letter."""
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    before = r"[^\r\n\p{L}\p{N}]?"
    words = f"{before}{upper}*{lower}+{ending}|{before}{upper}+{lower}*{ending}"
    return rf"{words}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{SPACES}"


CL100K = _words(r"\p{N}{1,3}")
CL100K_DIGIT = _words(DIGIT)
ASCII_PUNCTUATION = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
DEEPSEEK_WORDS = (
    rf"{ASCII_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{SPACES}"
)
IDEOGRAPHS = "[一-龥ࠀ-一가-퟿]+"


@dataclass(frozen=True)
class Split:
    """A way to split: its `patterns`; with `whole_words`, a piece that is a token is taken as it is, without merging;
    with `composed`, the text is brought into Unicode's form NFC first; `begins` is the default of add_bos_token."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    composed: bool = False
    begins: bool = False


def _entries() -> Iterator[tuple[str, Split]]:
    def named(names: str, *patterns: str, **options: bool) -> Iterator[tuple[str, Split]]:
        return ((name, Split(patterns, **options)) for name in names.split())

    return chain(
        named("gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat mellum exaone4 a.x-4.0", GPT2),
        named("smollm starcoder refact codeshell exaone minerva-7b", DIGIT, GPT2),
        named("command-r", DIGIT, GPT2, composed=True),
        named(
            "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2", CL100K, whole_words=True, begins=True
        ),
        named("dbrx smaug-bpe glm4 chatglm-bpe", CL100K),
        named("qwen2 megrez", CL100K_DIGIT, composed=True),
        named("deepseek-r1-qwen kormo stablelm2 hunyuan grok-2", CL100K_DIGIT),
        named("tekken", _cased_words(DIGIT, ""), whole_words=True, begins=True),
        named("gpt-4o llama4 minimax-m2", _cased_words(r"\p{N}{1,3}", f"{CONTRACTIONS}?")),
        named(
            "seed-coder", rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{DIGIT}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{SPACES}"
        ),
        named("deepseek-v3 hunyuan-dense", r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_WORDS),
        named("deepseek-coder", r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", IDEOGRAPHS, DIGIT),
        named("falcon", r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"),
        named("default", r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
        named("bloom poro-chat gpt3-finnish", r" ?[^(\s|.,!?…。，、।۔،)]+"),
        named("viking", r" ?[^(\s|.,!?…。，、।۔،)]+", DIGIT),
    )


SPLITS: dict[str, Split] = dict(_entries())
