"""Random texts that are hard to tokenize."""

import random
from collections.abc import Sequence

PROSE = (
    "It's one of those mornings when nothing works, isn't it? We'll see: 3.14159, 2,718 and 1e-9 cost $5.00 (4 EUR). "
    "THE QUICK Brown fox JUMPED over the lazy dog's back -- twice! Naïve café-goers paid £12 for crème brûlée.\n\n"
    "Straße, Ærøskøbing, Žižek, Łódź; ΣΊΣΥΦΟΣ и Москва, 東京タワー、안녕하세요 ทดสอบ हिन्दी שלום مرحبا.\n"
)
CODE = (
    'def f(x):\n    """Doc."""\n\treturn {"a": [x ** 2, -x], 0xFF: x != 3}\n\n\n'
    "class A(B):\n        y: int = 10_000  # !\n"
)
ALPHABETS = [
    "abc xyz",
    "ABC déjà Ünï ",
    "0123456789 ",
    "  \t\n\r\u00a0\u3000\u2003\u200b",
    ".,;:!?'\"-_()[]{}<>/\\@#$%^&*+=~`|▁Ġ",
    "漢字仮名かなカナ한국어中文",
    "😀🎉👨\u200d👩\u200d👧🇫🇷👍🏽❤\ufe0f",
    "e\u0301a\u0308n\u0303\u0327o\u0323\u0302ḍ\u0307",
    "ЖжЯяάΣςאבגعربहिन्दीไทย",
    "ﬁǅⅫ①²½ｆｕｌ㎏㋿ſKⓐ",
    "'s 't 're 've 'm 'll 'd 'S 'RE I'LL",
    "\x00\x01\x1c\x7f\x85\u2028\ufeff\ufffd\ue000",
]


def random_text(dice: random.Random, specials: Sequence[str] = ()) -> str:
    """A stretch of prose or code, or a mixture of alphabets, random code points, runs, and special tokens."""
    if dice.random() < 0.25:
        source = dice.choice([PROSE, CODE]) * 2
        start = dice.randrange(len(source) // 2)
        return source[start : start + dice.randrange(1, 100)]
    parts = []
    for _ in range(dice.randrange(1, 8)):
        kind = dice.random()
        if kind < 0.12 and specials:
            parts.append(dice.choice(["", " ", "  ", "a"]) + dice.choice(specials) + dice.choice(["", " ", "\n ", "b"]))
        elif kind < 0.35:
            highest = 0x110000 if kind < 0.25 else 0x3000
            codes = [dice.randrange(highest) for _ in range(dice.randrange(1, 6))]
            parts.append("".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000))
        elif kind < 0.5:
            parts.append(dice.choice(" \n.a▁Ġ") * dice.randrange(1, 20))
        else:
            alphabet = dice.choice(ALPHABETS)
            parts.append("".join(dice.choice(alphabet) for _ in range(dice.randrange(1, 12))))
    return "".join(parts)
