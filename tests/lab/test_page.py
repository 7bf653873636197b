"""The page's files: modules name each other as the saved page expects, and the text of the page is in plain words."""

import re
from pathlib import Path

import pytest

import tinygrad_llm

PAGE = Path(tinygrad_llm.__file__).parent / "lab" / "page"
MODULES = {file.name: file.read_text("utf-8") for file in sorted(PAGE.glob("*.js"))}
HTML, STYLE = (PAGE / "index.html").read_text("utf-8"), (PAGE / "style.css").read_text("utf-8")
IMPORT = re.compile(r'^import \{([\w,\s]+)\} from "\./(\w+\.js)";$', re.MULTILINE)


def imports(source: str) -> list[tuple[list[str], str]]:
    return [(re.findall(r"\w+", names), module) for names, module in IMPORT.findall(source)]


@pytest.mark.parametrize("name", MODULES)
def test_every_import_names_an_export_and_is_used(name: str) -> None:
    source = MODULES[name]
    assert len(re.findall(r"^import\b", source, re.MULTILINE)) == len(imports(source))
    for names, module in imports(source):
        for one in names:
            assert re.search(rf"^export (async )?(function|class|const) {one}\b", MODULES[module], re.MULTILINE), one
            assert len(re.findall(rf"\b{one}\b", source)) > 1, f"{one} is not used"


def test_every_module_is_reached_from_the_entry() -> None:
    reached, waiting = set(), ["main.js"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting += [module for _, module in imports(MODULES[name]) if module not in reached]
    assert reached == MODULES.keys()


def test_every_export_is_imported() -> None:
    imported = {(module, one) for source in MODULES.values() for names, module in imports(source) for one in names}
    exported = {
        (name, one)
        for name, source in MODULES.items()
        for one in re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", source, re.MULTILINE)
    }
    assert exported - imported == set()


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() -> None:
    assert re.findall(r"<script[^>]*>", HTML) == ['<script type="module" src="./main.js">']
    assert not re.search(r"<style|\sstyle=|\son\w+=", HTML)
    for source in [HTML, STYLE, *MODULES.values()]:
        found = set(re.findall(r"https?://[^\"'\s]+", source))
        assert found <= {"http://www.w3.org/2000/svg"}
    for source in MODULES.values():
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source)
    assert not re.search(r"url\(|@import", STYLE)


def test_every_colour_has_a_light_and_a_dark_value() -> None:
    defined = dict(re.findall(r"^  --([\w-]+): (.+);$", STYLE, re.MULTILINE))
    fonts = {"serif", "sans", "mono"}
    assert all(value.startswith("light-dark(") for name, value in defined.items() if name not in fonts)
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) <= defined.keys()
    body = STYLE.partition("* { box-sizing")[2]
    assert not re.search(r"#[0-9a-f]{3,8}\b", body)


def test_each_file_is_short() -> None:
    assert {name: len(text.splitlines()) for name, text in MODULES.items() if len(text.splitlines()) > 350} == {}
