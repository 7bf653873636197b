"""The files of the browser pages: each page's own in `<room>/page/`, and those that pages share in `web/page/`.

Modules import each other as `./name.js`. A room serves both folders under one address, so every name is in one of them.
"""

from __future__ import annotations

import importlib.resources
import re

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
NAME = re.compile(rf"[a-z0-9_]{{1,40}}\.({'|'.join(TYPES)})")


def page_file(room: str, name: str) -> tuple[str, bytes] | None:
    """The content type and the bytes of a file of the room's page; None if there is none of this name."""
    if not (shape := NAME.fullmatch(name)):
        return None
    for owner in (room, "web"):
        file = importlib.resources.files(f"tinygrad_llm.{owner}").joinpath("page", name)
        if file.is_file():
            return TYPES[shape[1]], file.read_bytes()
    return None


def page_files(room: str) -> dict[str, str]:
    """The texts of all files of the room's page by their names, shared ones included."""
    folders = [importlib.resources.files(f"tinygrad_llm.{owner}").joinpath("page") for owner in ("web", room)]
    return {file.name: file.read_text("utf-8") for folder in folders for file in folder.iterdir()}
