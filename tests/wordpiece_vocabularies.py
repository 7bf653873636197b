"""Small WordPiece vocabularies and texts that are hard to split, for the tests."""

import unicodedata

from tinygrad_llm.text import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "un", "##aff", "##able", "##a", "runn", "##ing", "run", "naive", "Naïve", "naïve", "漢"]
WORDS += [",", ".", "!", "'"]
SMALL = [*SPECIAL, *WORDS]
TEXTS = [
    "The unaffable, running!",
    "naïve NAÏVE Naïve na\u0308ive nai\u0308ve",
    "漢字と漢",
    "a b\tc\nd\re\u2028f\u3000g",
    "",
    " ",
    "it's $5.00 ~ 3^2 `x` <tag> a|b",
    "x\x00y\ufffdz\x07 soft\u00adhyphen zero\u200bwidth\u200djoin\ufeff",
    "ÀÉÎõü ß ẞ İstanbul ıŞ ﬁn ŒUVRE",
    "ΣΊΣΥΦΟΣ ΌΣΟΣ",
    "한국어 かな カタカナ ｶﾅ",
    "שָׁלוֹם مَرْحَبًا",
    "हिन्दी भाषा",
    "🙂🙃 👩‍👩‍👧 ©®™",
    "“quotes” ‘single’ — dash – ellipsis… ¿qué? ¡sí!",
    "e\u0301e\u0300 \u0301alone",
    "A" * 100 + " " + "a" * 101,
    "[CLS] the [MASK]!",
    "<|endoftext|>",
    "\u1e9b\u0323 \u212b \u2126 \u2260",
    "1,234.5e-6 3/4 ½ ²",
    "ᾼ ǅ Ǆ ǆ",
]


def letters(lowercase: bool) -> WordPieceTokenizer:
    """A vocabulary with every letter of the texts, at the beginning of a word and inside it."""
    found = {c for text in TEXTS for c in text + text.lower() + unicodedata.normalize("NFD", text.lower())}
    plain = sorted(c for c in found if c.isprintable() and c != " ")
    return WordPieceTokenizer(
        [*SPECIAL, *WORDS, *(c for c in plain if c not in WORDS), *(f"##{c}" for c in plain if f"##{c}" not in WORDS)],
        lowercase,
    )


LETTERS = {lowercase: letters(lowercase) for lowercase in (True, False)}
