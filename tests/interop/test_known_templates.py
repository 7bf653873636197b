"""Known chat templates: their texts, and the real templates that they stand for where those are installed."""

import datetime
import importlib.util
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_chat import CHATML

from tinygrad_llm.interop import chat_template
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.interop.known_templates import (
    KNOWN,
    TemplateRefusal,
    chatml,
    gemma,
    gemma3,
    known_template,
    llama2,
    llama3,
    llama3_dated,
    mistral,
    mistral_v3,
    qwen3,
)

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
SYSTEM, HELLO, ANSWER, MORE = (
    {"role": role, "content": content}
    for role, content in (("system", " Be brief. "), ("user", " Hi\n"), ("assistant", " Hello "), ("user", "And?"))
)


def test_a_template_is_known_by_its_meaning_alone() -> None:
    assert known_template(CHATML) is chatml
    laid_out = CHATML.replace("{%", "{%- ").replace("{{", "\n    {{- ").replace("'", '"').replace("['role']", ".role")
    assert known_template(CHATML.replace("'", '"')) is chatml and known_template(laid_out) is chatml
    for other in (
        CHATML + "!",
        CHATML.replace("im_end", "im_End"),
        CHATML.replace("assistant", "user"),
        "",
        "a" * 30000,
    ):
        assert known_template(other) is None


@pytest.mark.parametrize(
    ("family", "messages", "text"),
    [
        (chatml, [HELLO], "<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\n"),
        (
            partial(chatml, default_system="S"),
            [HELLO],
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            qwen3,
            [HELLO, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}, MORE],
            "<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>user\nAnd?"
            "<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            llama3,
            [SYSTEM, HELLO],
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user"
            "<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            partial(llama3_dated, date="26 Jul 2024"),
            [HELLO],
            "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: "
            "26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (gemma, [HELLO], "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"),
        (
            gemma3,
            [SYSTEM, HELLO, ANSWER, MORE],
            "<s><start_of_turn>user\n Be brief. \n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
            "<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\n",
        ),
        (
            llama2,
            [SYSTEM, HELLO, ANSWER, MORE],
            "<s>[INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n Hi [/INST] Hello </s><s>[INST] And? [/INST]",
        ),
        (mistral, [HELLO, ANSWER, MORE], "<s>[INST]  Hi\n [/INST] Hello </s>[INST] And? [/INST]"),
        (
            mistral_v3,
            [SYSTEM, HELLO, ANSWER, MORE],
            "<s>[INST]  Hi\n[/INST] Hello</s>[INST]  Be brief. \n\nAnd?[/INST]",
        ),
    ],
)
def test_texts(family: Any, messages: list[dict[str, str]], text: str) -> None:
    assert family(messages, True, TOKENS) == text


def test_the_date_of_today() -> None:
    before = datetime.datetime.now()
    text = llama3_dated([HELLO], True, {})
    days = (before, datetime.datetime.now())  # midnight may come in between
    assert any(f"Today Date: {day:%d %b %Y}\n" in text for day in days)


@pytest.mark.parametrize("family", [gemma, gemma3, llama2, mistral, mistral_v3])
def test_roles_must_alternate(family: Any) -> None:
    for messages in ([HELLO, MORE], [ANSWER]):
        with pytest.raises(TemplateRefusal, match="must alternate"):
            family(messages, True, TOKENS)
    if family in (gemma, mistral):
        with pytest.raises(TemplateRefusal):
            family([SYSTEM, HELLO], True, TOKENS)


def real_templates() -> dict[str, str]:
    """The templates that come with trl and axolotl, as far as they are installed."""
    folders = {"trl": "chat_templates", "axolotl": "utils/chat_templates/templates"}
    found = {}
    for package, folder in folders.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            for path in Path(next(iter(spec.submodule_search_locations))).glob(f"{folder}/*.jinja"):
                found[f"{package}/{path.stem}"] = path.read_text("utf-8")
    return found


@pytest.mark.slow
def test_real_templates_have_the_texts_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those known here twice: by their function, and by jinja2."""
    utilities = pytest.importorskip("transformers.utils.chat_template_utils")
    templates = real_templates()
    if not templates:
        pytest.skip("neither trl nor axolotl is installed, which carry the templates of many models")
    assert sum(known_template(source) is not None for source in templates.values()) >= 8
    talks = [
        [HELLO],
        [SYSTEM, HELLO],
        [HELLO, ANSWER, MORE],
        [SYSTEM, HELLO, ANSWER, MORE],
        [HELLO, ANSWER],
        [HELLO, MORE],
    ]

    def theirs(source: str, talk: Any, prompt: bool) -> str | None:
        copied = json.loads(json.dumps(talk))
        try:
            return str(
                utilities.render_jinja_template([copied], None, None, source, False, False, prompt, **TOKENS)[0][0]
            )
        except Exception:
            return None

    def ours(source: str, talk: Any, prompt: bool) -> str | None:
        try:
            return ChatTemplate(source, TOKENS).render(talk, prompt)
        except Exception:
            return None

    cases = [(source, talk, prompt) for source in templates.values() for talk in talks for prompt in (True, False)]
    expected = [theirs(*case) for case in cases]
    assert [ours(*case) for case in cases] == expected
    monkeypatch.setattr(chat_template, "known_template", lambda source: None)
    assert [ours(*case) for case in cases] == expected


def test_hashes_are_of_one_length() -> None:
    assert len(KNOWN) > 15 and all(len(name) == 16 for name in KNOWN)
