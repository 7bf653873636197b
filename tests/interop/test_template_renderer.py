"""The program that renders templates, in this process: its answers, and versions of jinja2 that it refuses."""

import json
from typing import Any

import pytest

from tinygrad_llm.interop import template_renderer


def answer(template: str, **variables: Any) -> dict[str, str]:
    compiled = template_renderer.make_environment().from_string
    return template_renderer.answer(compiled, json.dumps({"template": template, "variables": variables}).encode())


def test_an_answer_is_a_text_or_an_error() -> None:
    pytest.importorskip("jinja2")
    assert answer("{{ a }}é", a="<") == {"text": "<é"}
    assert answer("{% generation %}{{ a }}{% endgeneration %}", a=1) == {"text": "1"}
    assert answer("{{ raise_exception('no') }}") == {"error": "TemplateError", "reason": "no"}
    assert answer("{{ a | tojson }}", a="<é>") == {"text": '"<é>"'}
    assert template_renderer.answer(None, b"not JSON")["error"] == "JSONDecodeError"


def test_an_old_jinja2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    jinja2 = pytest.importorskip("jinja2")
    monkeypatch.setattr(jinja2, "__version__", "3.1.5")
    with pytest.raises(ImportError, match=r"must be 3\.1\.6 or newer; got 3\.1\.5"):
        template_renderer.make_environment()
