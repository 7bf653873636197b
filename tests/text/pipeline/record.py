"""Records what the package tokenizers makes of random texts, for test_tokenizer.py; it needs that package.

python tests/text/pipeline/record.py
"""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tokenizer_families import FAMILIES, definition
from tokenizer_texts import random_text

RECORDED = Path(__file__).with_name("recorded.json")
TEXTS = 25


def main() -> None:
    """Write RECORDED: for each family its definition, and texts with their ids, offsets and decoded text."""
    import tokenizers

    recorded = {}
    for family in FAMILIES:
        content = definition(family, tokenizers, vocab_size=400)
        library = tokenizers.Tokenizer.from_str(json.dumps(content))
        dice = random.Random(family)
        specials = [token["content"] for token in content["added_tokens"]]
        cases = []
        for _ in range(TEXTS):
            text = random_text(dice, specials)
            found = library.encode(text, add_special_tokens=False)
            cases.append([text, found.ids, found.offsets, library.decode(found.ids, skip_special_tokens=False)])
        recorded[family] = {"definition": content, "cases": cases}
    RECORDED.write_text(json.dumps(recorded, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
