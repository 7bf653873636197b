"""Text in many scripts, and a tokenizer trained on it, for the tests of byte pair encoding."""

from hypothesis import strategies as st

from tinygrad_llm.text import BPETokenizer

GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
SCRIPTS = (
    "The cat's hat, they've 1234 cats!  \n\n\t def f(x):\r\n    return x**2  # naïve café Straße "
    "Привет, мир! Ελληνικά 漢字かな交じり文 한국어 العربية ١٢٣ עברית हिन्दी ไทย 🙂👩‍👩‍👧 e\u0301 \u00a0\u3000\u2028x "
    "\x00\x1c\x85 ''s 'S aaaaaaaaaaaaaaaa '''ll we'll"
)
TOKENIZER = BPETokenizer.train([SCRIPTS, SCRIPTS * 2, "aaaa" * 9], 500, special_tokens=("<|endoftext|>", "<|pad|>"))
near_text = st.text(st.sampled_from(SCRIPTS) | st.sampled_from(" \n'asdt1"), max_size=80)
