"""A token as Hugging Face's settings name it: its text, or an object that holds the text as `content`."""

from typing import Any

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats.strict_json import shown


def token_text(value: Any, name: str) -> str | None:
    """The text of a token that the setting `name` gives; None for null, and for flags such as add_bos_token.

    Raises: FormatError for another value
    """
    content = value.get("content") if isinstance(value, dict) else value
    if content is None or isinstance(content, bool):
        return None
    if not isinstance(content, str):
        raise FormatError(f"{name} must be a token's text, or an object with it as content; got {shown(value)}")
    return content
