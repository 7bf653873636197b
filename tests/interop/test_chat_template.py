"""Chat templates rendered by jinja2's sandbox: text, refusals, and limits; compared with transformers'."""

import time
from pathlib import Path
from typing import Any

import pytest
from tiny_chat import CHATML

from tinygrad_llm.errors import ConfigError, FormatError, MissingPackageError
from tinygrad_llm.interop import chat_template
from tinygrad_llm.interop.chat_template import ChatTemplate

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
ASKED = [{"role": "user", "content": "Is 1 < 2 & 'so'? é😀"}]
# Own templates that use everything which chat templates use.
TEMPLATES = {
    "options": "{{ bos_token }}\n{% for m in messages %}\n    {% if m.role == 'user' %}\n  {{ m.content }}\n"
    "{% endif %}\n{% endfor %}\n{{ eos_token }}\n",
    "loop controls": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content }}{% break %}"
    "{% endfor %}",
    "tojson": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2, sort_keys=True) }}",
    "generation": "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}",
    "namespace": "{% set ns = namespace(found=false) %}{% for m in messages %}{% set ns.found = true %}{% endfor %}"
    "{{ ns.found }}{{ dict(a=1) }}{{ dict.fromkeys(['b'], 2) }}",
    "date": "{{ strftime_now('%Y') }}",
    "undefined": "{{ nothing }}{{ tools is none }}{% if documents is none %}!{% endif %}",
    "prompt": "{{ add_generation_prompt }}",
    "refusal": "{{ raise_exception('no!') }}",
}


def needs_jinja2() -> None:
    pytest.importorskip("jinja2", minversion="3.1.6")


def test_a_known_template_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "_RENDERER", None)
    assert ChatTemplate(CHATML, {}).render(ASKED) == f"<|im_start|>user\n{ASKED[0]['content']}<|im_end|>\n" + (
        "<|im_start|>assistant\n"
    )


def test_without_jinja2_another_template_is_refused_naming_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutJinja2:
        def ask(self, request: Any) -> dict[str, str]:
            return {"error": "ImportError", "reason": "No module named 'jinja2'"}

    monkeypatch.setattr(chat_template, "_RENDERER", WithoutJinja2())
    with pytest.raises(MissingPackageError, match=r"No module named 'jinja2'.*pip install '.\[hub\]'"):
        ChatTemplate(CHATML.replace("user", "User") + "!", {}).render(ASKED)


@pytest.mark.parametrize("name", TEMPLATES)
def test_texts_are_those_of_transformers(name: str) -> None:
    needs_jinja2()
    utilities = pytest.importorskip("transformers.utils.chat_template_utils")
    messages = [{"role": "system", "content": "<b> a \n"}, *ASKED, {"role": "assistant", "content": " x"}]
    for prompt in (True, False):
        try:
            texts, _ = utilities.render_jinja_template(
                conversations=[messages], chat_template=TEMPLATES[name], add_generation_prompt=prompt, **TOKENS
            )
        except Exception as error:
            with pytest.raises(ConfigError, match=str(error)):
                ChatTemplate(TEMPLATES[name], TOKENS).render(messages, prompt)
        else:
            assert ChatTemplate(TEMPLATES[name], TOKENS).render(messages, prompt) == texts[0]


def test_texts_of_the_environment() -> None:
    needs_jinja2()
    messages = [{"role": "system", "content": "<b>"}, *ASKED, {"role": "assistant", "content": "x"}]

    def text(name: str) -> str:
        return ChatTemplate(TEMPLATES[name], TOKENS).render(messages)

    assert text("options") == f"<s>\n  {ASKED[0]['content']}\n</s>"
    assert text("loop controls") == ASKED[0]["content"]
    assert text("tojson").startswith('[{"role": "system", "content": "<b>"}') and "é😀" in text("tojson")
    assert text("generation") == f"<b>{ASKED[0]['content']}x"
    assert text("namespace") == "True{'a': 1}{'b': 2}"
    assert text("undefined") == "True!" and text("prompt") == "True"
    with pytest.raises(ConfigError, match="refuses these messages: no!"):
        text("refusal")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ a.b.c }}", "UndefinedError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ namespace(__class__=1) }}", "SecurityError"),
        ("{% set ns = namespace() %}{% set ns._a = 1 %}", "SecurityError"),
        ("{% set _ = messages.append(1) %}", "SecurityError"),
        ("{{ 'a' * 10000000000 }}", "MemoryError"),
        ("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "16,777,216 characters"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{{ messages[0].content / 2 }}", "TypeError"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_a_short_error(source: str, said: str) -> None:
    needs_jinja2()
    with pytest.raises(FormatError) as refused:
        ChatTemplate(source, {}).render(ASKED)
    assert said in str(refused.value) and len(str(refused.value)) < 800


def test_a_template_without_end_is_ended_and_the_next_one_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_jinja2()
    assert ChatTemplate("{{ 1 }}", {}).render(ASKED) == "1"
    monkeypatch.setattr(chat_template, "SECONDS", 0.3)
    started = time.monotonic()
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(FormatError, match=r"more than 0.3 s"):
        ChatTemplate(endless, {}).render(ASKED)
    assert time.monotonic() - started < 60
    monkeypatch.undo()
    assert ChatTemplate("{{ 2 }}", {}).render(ASKED) == "2"


def test_other_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one message"):
        ChatTemplate(CHATML, {}).render([])
    with pytest.raises(FormatError, match="1,048,576 characters"):
        ChatTemplate("a" * ((1 << 20) + 1), {})


def test_a_process_that_ends_at_once_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    renderer = chat_template._Renderer()
    monkeypatch.setattr(chat_template, "RENDERER", tmp_path / "none.py")
    assert renderer.ask({"template": "", "variables": {}})["error"] == "no answer"
    renderer.end()
