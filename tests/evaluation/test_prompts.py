"""Prompts as ids, and where a context ends and its continuation begins."""

import pytest
from tiny_base import tiny_model

from tinygrad_llm.data import PROMPT_STYLES
from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.evaluation.prompts import Prompts, encode_continuations, encode_text, prefix_id
from tinygrad_llm.evaluation.task_files import Question
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.text import BPETokenizer, CharTokenizer


def test_white_space_at_the_end_of_a_context_belongs_to_the_continuation() -> None:
    tokenizer = BPETokenizer.train("to be or not to be, to be", vocab_size=262)
    assert len(tokenizer.encode_ordinary(" be")) < len(tokenizer.encode_ordinary("be")) + 1
    context, continuations = encode_continuations(tokenizer, "to ", ["be", "not"], 0)
    assert context == tokenizer.encode_ordinary("to")
    assert continuations == [tokenizer.encode_ordinary(" be"), tokenizer.encode_ordinary(" not")]
    assert encode_continuations(tokenizer, "", ["be"], 7) == ([7], [tokenizer.encode_ordinary("be")])
    assert encode_continuations(tokenizer, "\n", ["be"], 7) == ([7], [tokenizer.encode_ordinary("\nbe")])


def test_a_continuation_that_merges_with_its_context_still_has_tokens() -> None:
    tokenizer = BPETokenizer.train("ab ab ab ab", vocab_size=258)
    assert len(tokenizer.encode_ordinary("ab")) == 1
    context, continuations = encode_continuations(tokenizer, "a", ["b"], 0)
    assert (len(context), continuations) == (1, [tokenizer.encode_ordinary("b")])


def test_the_prefix_begins_texts_or_ends_them() -> None:
    tokenizer = BPETokenizer.train("", vocab_size=257)
    template = ChatTemplate("{{ messages }}", {"bos_token": "<|endoftext|>"})
    assert prefix_id(tokenizer, Conventions((7,), template)) == 256
    assert prefix_id(tokenizer, Conventions((7,))) == 7
    letters = CharTokenizer.train("ab\n")
    assert prefix_id(letters, Conventions()) == letters.encode("\n")[0]


def test_the_plain_style_and_a_prompt_form() -> None:
    _, tokenizer = tiny_model()
    shot, question, end = Question("1?", ("a", "b"), 1), Question("2?", ("c", "de"), 0), tokenizer.end_of_text
    start, choices = Prompts(tokenizer, 256).encode([shot], question)
    assert tokenizer.decode(start) == "Question: 1?\nAnswer: b\n\nQuestion: 2?\nAnswer:"
    assert choices == [tokenizer.encode_ordinary(" c"), tokenizer.encode_ordinary(" de")]
    verbatim = Question("2?", ("c",), verbatim=True)
    assert tokenizer.decode(Prompts(tokenizer, 256).encode([], verbatim).context) == "2?"
    form = Prompts(tokenizer, 256, PROMPT_STYLES["phi3"], end)
    start, choices = form.encode([shot], question)
    written = tokenizer.encode_ordinary("<|user|>\n1?\n<|assistant|>:\nb")
    assert start == [*written, end, *tokenizer.encode_ordinary("<|user|>\n2?\n<|assistant|>:\n")]
    assert choices == [[*tokenizer.encode_ordinary(choice), end] for choice in question.choices]


def test_a_character_that_the_tokenizer_lacks_is_found_where_it_stands() -> None:
    letters = CharTokenizer.train("abQuestion: Answer\n")
    plain, form = Prompts(letters, 0), Prompts(letters, 0, PROMPT_STYLES["phi3"])
    plain.expect_encodable(Question("a", ("a", "b")), "task.jsonl, line 1", shots=True)
    plain.expect_encodable(Question("a", answers=("z",)), "task.jsonl, line 1")  # the answer is not encoded
    refused = [
        (plain, Question("az", ("a", "b")), False, "^task.jsonl, line 7: every character .* got 'z'"),
        (plain, Question("a", ("a", "bz")), False, "^task.jsonl, line 7: every character"),
        (plain, Question("a", answers=("z",)), True, "^task.jsonl, line 7: every character"),
        (
            plain,
            Question("a\nb\naz\n", answers=("a",), verbatim=True),
            False,
            "^task.jsonl, line 7, line 3 of the text: every",
        ),
        (form, Question("a", ("a", "b")), False, r"^'<\|user\|>.*', which the style adds to a question: every .* '<'"),
        (Prompts(CharTokenizer.train("ab"), 0), Question("a", ("a", "b")), False, "^'Question: .* adds .* got 'Q'"),
    ]
    for prompts, question, is_shot, words in refused:
        with pytest.raises(TokenizerError, match=words):
            prompts.expect_encodable(question, "task.jsonl, line 7", is_shot=is_shot)
    with pytest.raises(TokenizerError, match=r"^poem.txt, line 2 of the text: every character"):
        encode_text(letters, "a\nz", "poem.txt")
