"""The normal form of a template: equal for layouts of one template, different for all else."""

import pytest

from tinygrad_llm.interop.template_normal_form import digest, normal_form

PLAIN = "{% for m in messages %}{{'a\\n' + m['role'] + 'bc'}}{% endfor %}"


@pytest.mark.parametrize(
    "layout",
    [
        PLAIN + "\n",
        PLAIN.replace("'", '"'),
        PLAIN.replace("\\n", "\n"),
        "{% for m in messages %}\n{{ 'a\\n' + m['role'] + 'bc' }}{% endfor %}",  # trim_blocks
        "{%- for m in messages %}\n    {{- 'a\\n' + m.role + 'b' + 'c' }}\n{%- endfor %}\n",
        "{% for m in messages %}{# a comment #}\n{{ 'a\\n'+m.role+'b'+'c' -}}\r\n {% endfor %}",
        "{% for m in messages -%}\n\n  {{ 'a\\n' + m.role + 'bc' -}}\n   {% endfor %}",
    ],
)
def test_layouts_of_one_template_have_one_form(layout: str) -> None:
    assert normal_form(layout) == normal_form(PLAIN) and digest(layout) == digest(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN + " ",
        PLAIN.replace("bc", "bd"),
        PLAIN.replace("role", "content"),
        PLAIN.replace("{% end", " {% end"),
        PLAIN.replace("{{", "{{ ").replace("a\\n", "a\\\\n"),
        "{% for m in messages %}\n\n{{'a\\n' + m['role'] + 'bc'}}{% endfor %}",
        "{% for m in messages %}{{'a\\n' + m['role'] + 'b' + 'c' | trim}}{% endfor %}",
        "{% for m in messages %}{{'a\\n' + m['role'] + 'b' * 'c'}}{% endfor %}",
        "{% for m in messages %}{{'a\\n' + m['role'] - 'b' + 'c'}}{% endfor %}",
    ],
)
def test_another_template_has_another_form(other: str) -> None:
    assert normal_form(other) != normal_form(PLAIN) and digest(other) != digest(PLAIN)


def test_a_sum_of_texts_is_added_only_where_nothing_binds_more_tightly() -> None:
    assert normal_form("{{ 'a' + 'b' | trim }}") == "{{ 'a' + 'b' | trim }}"
    assert normal_form("{{ 'a' + 'b' + 'c' }}") == "{{ 'abc' }}"


def test_broken_templates_have_a_digest_too() -> None:
    assert len({digest(text) for text in ("{{ '\\x' }}", "{{ '", "{%", "", "\ud800", '{{ "}}" }}')}) == 6
