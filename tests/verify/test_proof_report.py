"""The results of the verification as a page."""

import dataclasses
import html
import re
from pathlib import Path

from tinygrad_llm.verify import proof, proof_report


def test_the_page_links_each_row_to_its_source(tmp_path: Path) -> None:
    for name, file, definition in [("silu", "functions/activation.py", "def silu("), ("SiLU", "", "class SiLU(")]:
        (one,) = proof.prove(name)
        path, _, line = one.source.rpartition(":")
        assert definition in "".join(Path(path).read_text("utf-8").splitlines()[int(line) - 1 : int(line) + 1])
        page = proof_report.as_html([one])
        (anchor,) = re.findall(r'<td><a href="#([^"]+)">tinygrad_llm/[^<]*</a>', page)
        (listing,) = re.findall(rf'<section id="{re.escape(anchor)}">(.*?)</section>', page, re.DOTALL)
        assert f'<a href="{Path(path).as_uri()}">tinygrad_llm/' in listing and f"{file}:{line}</a>" in listing
        assert re.search(rf"{line}  (@.*\n +{int(line) + 1}  )?{re.escape(definition)}", html.unescape(listing))


def test_the_page_shows_problems_as_text() -> None:
    (one,) = proof.prove("silu")
    page = proof_report.as_html([dataclasses.replace(one, problem="<script>alert(1)</script>")])
    assert "<script" not in page and "1 of 1 are wrong" in page
