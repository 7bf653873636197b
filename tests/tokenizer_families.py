"""Definitions of tokenizers with the stages of well-known families, and small vocabularies of their own."""

import json
from typing import Any

from tokenizer_texts import ALPHABETS, CODE, PROSE

CORPUS = [PROSE, CODE, *ALPHABETS] * 3
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
r"\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)


def split(pattern: str, behavior: str = "Isolated", invert: bool = False, literal: bool = False) -> dict[str, Any]:
    kind = "String" if literal else "Regex"
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(prefix: bool = False, pattern: bool = True, trim: bool = True) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": pattern}


def metaspace(scheme: str = "always", splits: bool = True) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}


def replace(old: str, new: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: old}, "content": new}


def sequence(name: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", name: list(parts)}


def norms(*parts: dict[str, Any]) -> dict[str, Any]:
    return sequence("normalizers", *parts)


def pres(*parts: dict[str, Any]) -> dict[str, Any]:
    return sequence("pretokenizers", *parts)


def decoders(*parts: dict[str, Any]) -> dict[str, Any]:
    return sequence("decoders", *parts)


def template(bos: str = "<s>") -> dict[str, Any]:
    token, text = {"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    named = {bos: {"id": bos, "ids": [0], "tokens": [bos]}}
    return {"type": "TemplateProcessing", "single": [token, text], "pair": [text, text], "special_tokens": named}


SPACES_BACK = [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
BERT = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
CLIP = r"<\|startoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

# name: (kind of model, its flags, normalizer, pre-tokenizer, decoder, post-processor, added tokens with their flags)
Rules = tuple[str, dict[str, Any], Any, Any, Any, Any, dict[str, str]]
FAMILIES: dict[str, Rules] = {
    "gpt2": ("bytes", {}, None, byte_level(), byte_level(), byte_level(trim=False), {"<|endoftext|>": "special"}),
    "roberta": (
        *("bytes", {}, None, byte_level(prefix=True), byte_level()),
        {
            "type": "RobertaProcessing",
            "sep": ["<s>", 0],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": True,
        },
        {"<mask>": "special lstrip"},
    ),
    "llama3": (
        *("bytes", {"ignore_merges": True}, None, pres(split(CL100K), byte_level(pattern=False)), byte_level()),
        sequence("processors", byte_level(trim=False), template()),
        {"<|eot_id|>": "special", "<|x y|>": "special"},
    ),
    "qwen": (
        *(
            "bytes",
            {},
            {"type": "NFC"},
            pres(split(CL100K.replace("{1,3}", "")), byte_level(pattern=False, trim=False)),
        ),
        *(byte_level(), byte_level(trim=False), {"<|im_end|>": "special", "<tool_call>": "", "é": "normalized"}),
    ),
    "o200k": (
        *("bytes", {}, None, pres(split(O200K, "Removed", invert=True), byte_level(pattern=False)), byte_level(), None),
        {"<|end|>": "special"},
    ),
    "deepseek": (
        *("bytes", {}, norms()),
        pres(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), byte_level(pattern=False)),
        *(byte_level(), byte_level(trim=False), {"<｜end▁of▁sentence｜>": "special", "<think>": "normalized"}),
    ),
    "falcon": (
        *("bytes", {}, None),
        pres(
            *({"type": "Punctuation", "behavior": "Contiguous"}, byte_level()),
            *({"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]")),
        ),
        *(byte_level(), byte_level(), {">>TITLE<<": "special"}),
    ),
    "starcoder": (
        *("bytes", {}, None, pres({"type": "Digits", "individual_digits": True}, byte_level())),
        *(byte_level(), None, {"<fim_prefix>": "special"}),
    ),
    "bloom": ("bytes", {}, None, pres(split(BLOOM), byte_level(pattern=False)), byte_level(), byte_level(), {}),
    "llama2": (
        *("sentencepiece", {}, norms({"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")), None),
        *(decoders(*SPACES_BACK, STRIP), template(), {"</s>": "special", "[INST]": "special", "word": "single_word"}),
    ),
    "mistral": (
        *("sentencepiece", {}, None, metaspace("first", splits=False), decoders(*SPACES_BACK, STRIP), template()),
        {"</s>": "special", "[INST]": "special rstrip"},
    ),
    "gemma": (
        *("sentencepiece", {}, replace(" ", "▁"), split(" ", "MergedWithPrevious", literal=True)),
        *(decoders(*SPACES_BACK), template(), {"<eos>": "special", "\n\n": "", "▁▁": ""}),
    ),
    "clip": (
        *("suffix", {}, norms({"type": "NFC"}, replace(r"\s+", " ", "Regex"), {"type": "Lowercase"})),
        *(
            pres(split(CLIP, "Removed", invert=True), byte_level(pattern=False)),
            {"type": "BPEDecoder", "suffix": "</w>"},
        ),
        *(None, {"<|startoftext|>": "special"}),
    ),
    "bert": (
        *("wordpiece", {}, BERT, {"type": "BertPreTokenizer"}, {"type": "WordPiece", "prefix": "##", "cleanup": True}),
        *(template(), {"[MASK]": "special lstrip"}),
    ),
    "t5": (
        *("unigram", {}, norms({"type": "Nmt"}, {"type": "NFKC"}, replace(" {2,}", " ", "Regex"))),
        *(metaspace(), metaspace(), template(), {"<extra_id_0>": "special lstrip rstrip"}),
    ),
    "xlm-roberta": (
        *(
            "unigram",
            {"byte_fallback": True},
            {"type": "StripAccents"},
            pres({"type": "WhitespaceSplit"}, metaspace("first")),
        ),
        *(decoders({"type": "ByteFallback"}, metaspace()), template(), {"<mask>": "special lstrip normalized"}),
    ),
    "words": (
        *("words", {}, {"type": "Strip", "strip_left": True, "strip_right": True}),
        pres({"type": "Whitespace"}, {"type": "Punctuation", "behavior": "MergedWithPrevious"}),
        *(None, None, {"two words": "normalized single_word"}),
    ),
}


def definition(family: str, library: Any, vocab_size: int) -> dict[str, Any]:
    """The definition of a family, with a vocabulary that `library`, the package tokenizers, trains on CORPUS."""
    kind, flags, normalizer, pre_tokenizer, decoder, post_processor, added = FAMILIES[family]
    models, trainers = library.models, library.trainers
    alphabet = library.pre_tokenizers.ByteLevel.alphabet() if kind in ("bytes", "suffix") else []
    common = {"special_tokens": ["<s>", "<unk>"], "vocab_size": vocab_size, "show_progress": False}
    model, trainer = {
        "unigram": lambda: (models.Unigram(), trainers.UnigramTrainer(unk_token="<unk>", **common)),
        "wordpiece": lambda: (models.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer(**common)),
        "words": lambda: (models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(**common)),
        "suffix": lambda: (
            models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
            trainers.BpeTrainer(initial_alphabet=alphabet, end_of_word_suffix="</w>", **common),
        ),
        "bytes": lambda: (models.BPE(), trainers.BpeTrainer(initial_alphabet=alphabet, **common)),
        "sentencepiece": lambda: (models.BPE(), trainers.BpeTrainer(**common)),
    }[kind]()
    stages = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer or metaspace()}
    bare = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None}
    empty = {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
    tokenizer = library.Tokenizer.from_str(json.dumps({**bare, **stages, "decoder": None, "model": empty}))
    tokenizer.model = model
    tokenizer.train_from_iterator(CORPUS, trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    if kind == "sentencepiece":
        bytes_ = {f"<0x{byte:02X}>": len(trained["vocab"]) + byte for byte in range(256)}
        flags = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, **flags}
        trained["vocab"] |= bytes_
    elif kind == "unigram" and "byte_fallback" in flags:
        trained["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    size = len(trained["vocab"])
    names = ("special", "normalized", "single_word", "lstrip", "rstrip")
    known = trained["vocab"] if isinstance(trained["vocab"], dict) else {}
    tokens, number = [], size
    for content, words in {"<s>": "special", "<unk>": "special", **added}.items():
        own = {"<s>": 0, "<unk>": 1}.get(content, known.get(content))
        tokens.append(
            {"id": number if own is None else own, "content": content, **{name: name in words for name in names}}
        )
        number += own is None
    return {
        **bare,
        "added_tokens": tokens,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": trained | flags,
    }
