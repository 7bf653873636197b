"""Download a model from the Hugging Face hub: config, tokenizer and weights, or one GGUF file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tinygrad_llm.interop.hub import SHORT_NAMES, Hub, repository_of
from tinygrad_llm.interop.hub_download import download, plan_download
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.hints import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=f"owner/model, or one of {', '.join(SHORT_NAMES)}")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to put its files (default: models/MODEL)")
    parser.add_argument(
        "--revision", metavar="REV", help="branch, tag or commit (default: main, or that of an earlier download in DIR)"
    )
    parser.add_argument("--file", metavar="FILE", help="download this file alone, such as one of the .gguf files")


def run(arguments: argparse.Namespace) -> int:
    hub, status = Hub(), StatusLine()
    folder = arguments.out or Path("models", repository_of(arguments.name, hub.endpoint).partition("/")[2])
    with status.working(f"asking {hub.endpoint}"):
        plan = plan_download(hub, arguments.name, folder, arguments.revision, arguments.file)
    count = "one file" if len(plan.files) == 1 else f"{len(plan.files)} files"
    status.say(f"{plan.repository} at {plan.commit[:12]} ({plan.revision}): {count}, {plan.size / 1e6:,.1f} MB")
    began: dict[str, tuple[float, int]] = {}

    def progress(file: str, done: int, total: int) -> None:
        start, before = began.setdefault(file, (time.monotonic(), done))
        rate = (done - before) / max(time.monotonic() - start, 0.1)
        status.renew(lambda: f"  {file}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB, {rate / 1e6:.1f} MB/s")

    paths = download(hub, plan, folder, progress)
    status.say(f"in {folder}, each file checked by its size and the checksum that the hub states")
    source = paths[0] if paths[0].suffix == ".gguf" else folder
    if arguments.file is None or source != folder:
        status.hint("make a run of it", command("import", "--from", source, "--out", f"runs/{folder.name}"))
    return 0
