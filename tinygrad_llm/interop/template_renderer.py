"""A program that renders chat templates with jinja2, one request per line; `chat_template.py` starts and ends it.

A template is a program of somebody else's. jinja2's sandbox keeps it from files and from Python's internals, but not
from loops without end or texts without size, so it runs in a process of its own: the caller ends it when it takes too
long, and the operating system when it takes too much memory.

The environment is that of transformers' `apply_chat_template`: `trim_blocks` and `lstrip_blocks`, `break` and
`continue`, `{% generation %}` blocks, `raise_exception`, `strftime_now`, and a `tojson` that escapes no HTML.

    request   {"template": text, "variables": {...}}
    answer    {"text": ...} or {"error": class name, "reason": ...}
"""

import datetime
import functools
import json
import sys
from typing import Any

MEMORY = 1 << 30  # bytes of address space
MOST_CHARACTERS = 1 << 24  # of a rendered text
OLDEST = (3, 1, 6)  # of jinja2: before it the sandbox had known holes


def to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """The filter `tojson`: unlike jinja2's own, it leaves <, >, & and ' as they are."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


class PlainDict:
    """`dict` in a template: the call and `fromkeys`, and no other attribute of Python's class."""

    def __call__(self, *parts: Any, **named: Any) -> dict[Any, Any]:
        return dict(*parts, **named)

    def fromkeys(self, keys: Any, value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


def make_environment() -> Any:
    """jinja2's sandbox with what chat templates use. Raises: ImportError if jinja2 is missing or too old"""
    import jinja2
    from jinja2 import ext, nodes, sandbox, utils

    if tuple(int(part) for part in jinja2.__version__.split(".")[:3] if part.isdecimal()) < OLDEST:
        raise ImportError(f"jinja2 must be {'.'.join(map(str, OLDEST))} or newer; got {jinja2.__version__}")

    class GenerationBlocks(ext.Extension):
        """`{% generation %}...{% endgeneration %}`, which marks an assistant's text, renders as its content."""

        tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

        def _content(self, caller: Any) -> Any:
            return caller()

    class PlainNamespace(utils.Namespace):
        """`namespace` in a template; names that begin with an underscore are refused."""

        def __init__(*parts: Any, **named: Any) -> None:  # no parameter may be called self: a template may set it
            self, given = parts[0], dict(*parts[1:], **named)
            for name in given:
                expect_public(name)
            utils.Namespace.__init__(self, given)

        def __setitem__(self, name: str, value: Any) -> None:
            expect_public(name)
            super().__setitem__(name, value)

    def expect_public(name: Any) -> None:
        if str(name).startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace must not hold {name!r}, which begins with _")

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
        "dict": PlainDict(),
        "namespace": PlainNamespace,
    }
    return environment


def render(template: Any, variables: dict[str, Any]) -> str:
    """The text of a compiled template. Raises: OverflowError for more than MOST_CHARACTERS"""
    pieces, size = [], 0
    for piece in template.generate(**variables):
        size += len(piece)
        if size > MOST_CHARACTERS:
            raise OverflowError(f"a rendered text may have {MOST_CHARACTERS:,} characters; this one has more")
        pieces.append(piece)
    return "".join(pieces)


def limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # a system without such limits
        return


def answer(compiled: Any, line: bytes) -> dict[str, str]:
    """The answer to one request, whatever its template does."""
    try:
        request = json.loads(line)
        return {"text": render(compiled(request["template"]), request["variables"])}
    except Exception as error:
        return {"error": type(error).__name__, "reason": str(error)[:500]}


def main() -> None:
    limit_memory()
    try:
        compiled = functools.lru_cache(maxsize=8)(make_environment().from_string)
    except ImportError as error:
        failure = {"error": "ImportError", "reason": str(error)}
        compiled = None
    for line in sys.stdin.buffer:
        reply = failure if compiled is None else answer(compiled, line)
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
