"""The lab's page as one HTML file that works without the lab: with its styles, its modules, and the answers it shows.

The page asks the same questions as ever; `#saved` holds the answers. Modules import each other as `./name.js`, which a
file has no folder for: an import map names each of them, as a data: address.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.web.page_files import page_files

MAX_BYTES = 5_000_000
ENTRY = '<script type="module" src="./main.js"></script>'
STYLE = re.compile(r'<link rel="stylesheet" href="\./([a-z0-9_]+\.css)"\s*/?>')
IMPORT = re.compile(r'(\bfrom |\bimport )"\./([a-z0-9_]+\.js)"')
SPLIT, LARGE = "2:", 50_000  # bytes of an answer that is split
HEAD = re.compile(r"<head>", re.IGNORECASE)

Answer = tuple[str, str, bytes]  # name of the request, the exact text of its body, the answer


def saved_page(
    fragment: str, answers: Iterable[Answer], title: str, kind: str = "lab", limit: int = MAX_BYTES
) -> tuple[bytes, list[str]]:
    """The page that shows what the address fragment names, and the requests whose answers did not fit into it.

    The first of `answers` are the most important. `kind` is "lab" or "inspect". Units: limit in bytes

    Raises: ConfigError if the page does not fit even without answers
    """
    shell = _page_without_answers()
    held: dict[str, str] = {}
    left_out: list[str] = []
    size = len(shell) + len(_as_data({"fragment": fragment, "title": title, "kind": kind})) + 1_000
    if size > limit:
        raise ConfigError(f"a saved page needs at least {size:,} bytes; the limit is {limit:,}")
    for name, body, answer in answers:
        key, value = f"{name} {body}", compressed(answer)
        bytes_of_entry = len(_as_data({key: value})) + (len(_as_data(key)) if len(left_out) < 20 else 0)
        if key in held:
            continue
        if size + bytes_of_entry > limit:
            left_out.append(key)
            continue
        held[key] = value
        size += bytes_of_entry
    saved = {"fragment": fragment, "title": title, "kind": kind, "leftOut": left_out[:20], "answers": held}
    return shell.replace(b"{{SAVED}}", _as_data(saved)), left_out


def compressed(answer: bytes, level: int = 6) -> str:
    """An answer as base64 of its deflated bytes.

    In a large one, marked by "2:", all even bytes come before the odd ones: the high bytes of 16-bit integers are
    together then, which deflates better.
    """
    if len(answer) < LARGE:
        return base64.b64encode(zlib.compress(answer, level)).decode()
    size = len(answer) // 2 * 2
    halves = answer[0:size:2] + answer[1:size:2] + answer[size:]
    return SPLIT + base64.b64encode(zlib.compress(halves, level)).decode()


def _page_without_answers() -> bytes:
    """The page with everything but `{{SAVED}}`. The policy admits the scripts and styles of this file alone."""
    files = page_files("lab")
    page = files["index.html"]
    imports = {f"lab/{name}": _address_of(text) for name, text in sorted(files.items()) if name.endswith(".js")}
    importmap, entry = json.dumps({"imports": imports}), 'import "lab/main.js";'
    styles = {name: files[name] for name in STYLE.findall(page)}
    page = STYLE.sub(lambda found: f"<style>{styles[found[1]]}</style>", page)
    scripts = f'<script type="importmap">{importmap}</script><script type="module">{entry}</script>'
    saved = '<script type="application/json" id="saved">{{SAVED}}</script>'
    page = page.replace(ENTRY, saved + scripts)
    policy = (
        f"default-src 'none'; script-src data: {_hash_of(importmap)} {_hash_of(entry)}; "
        f"style-src {' '.join(map(_hash_of, styles.values()))}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return HEAD.sub(lambda found: found[0] + meta, page, count=1).encode()


def _address_of(module: str) -> str:
    text = IMPORT.sub(r'\1"lab/\2"', module)
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _as_data(value: Any) -> bytes:
    """JSON for the inside of a <script>: ASCII, without characters that have a meaning in HTML."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").encode()
