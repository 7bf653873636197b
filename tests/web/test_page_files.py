"""The files of the pages: modules name each other as a saved page expects, and a page's text is in plain words."""

import re
from collections.abc import Iterable

import pytest

from tinygrad_llm.web.page_files import page_file, page_files

ROOMS = ["lab", "serve"]
FILES = {room: page_files(room) for room in ROOMS}
MODULES = [(room, name) for room in ROOMS for name in FILES[room] if name.endswith(".js")]
IMPORT = re.compile(r'^import \{([\w,\s]+)\} from "\./(\w+\.js)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function\*?|class|const) (\w+)", re.MULTILINE)


def imports(source: str) -> list[tuple[list[str], str]]:
    return [(re.findall(r"\w+", names), module) for names, module in IMPORT.findall(source)]


def reached(room: str) -> set[str]:
    """The modules that the page loads: those that its entry imports, and what these import."""
    found, waiting = set(), ["main.js"]
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += [module for _, module in imports(FILES[room][name]) if module not in found]
    return found


def exported(names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(name, one) for room, name in names for one in EXPORT.findall(FILES[room][name])}


@pytest.mark.parametrize(("room", "name"), MODULES)
def test_every_import_names_an_export_and_is_used(room: str, name: str) -> None:
    source = FILES[room][name]
    assert len(re.findall(r"^import\b", source, re.MULTILINE)) == len(imports(source))
    for names, module in imports(source):
        for one in names:
            assert one in EXPORT.findall(FILES[room][module]), one
            assert len(re.findall(rf"\b{one}\b", source)) > 1, f"{one} is not used"


def test_every_module_is_reached_from_an_entry() -> None:
    assert set.union(*map(reached, ROOMS)) == {name for _, name in MODULES}
    for room in ROOMS:  # modules of its own, from its own entry
        assert {name for owner, name in MODULES if owner == room} - reached(room) <= page_files("web").keys()


def test_every_export_is_imported() -> None:
    imported = {
        (module, one) for room, name in MODULES for names, module in imports(FILES[room][name]) for one in names
    }
    assert exported(MODULES) - imported == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(room: str) -> None:
    page = FILES[room]["index.html"]
    assert len(re.findall(r"<script[^>]*>", page)) == 1
    assert re.search(r'<script type="module" src="(\./|page/)main\.js">', page)
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    for name, source in FILES[room].items():
        assert set(re.findall(r"https?://[^\"'\s]+", source)) <= {"http://www.w3.org/2000/svg"}, name
        if name.endswith(".js"):
            assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source), name
        if name.endswith(".css"):
            assert not re.search(r"url\(|@import", source), name


@pytest.mark.parametrize("room", ROOMS)
def test_every_colour_has_a_light_and_a_dark_value(room: str) -> None:
    styles = "".join(source for name, source in FILES[room].items() if name.endswith(".css"))
    defined = dict(re.findall(r"^  --([\w-]+): (.+);$", styles, re.MULTILINE))
    fonts = {"serif", "sans", "mono"}
    assert all(value.startswith("light-dark(") for name, value in defined.items() if name not in fonts)
    assert set(re.findall(r"var\(--([\w-]+)\)", styles)) <= defined.keys()
    rules = re.sub(r"^  --.*$", "", styles, flags=re.MULTILINE)
    assert not re.search(r"#[0-9a-f]{3,8}\b", rules)


def test_each_module_is_short() -> None:
    lengths = {name: len(FILES[room][name].splitlines()) for room, name in MODULES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_files_are_found_by_name_alone() -> None:
    for room in ROOMS:
        kind, source = page_file(room, "main.js") or ("", b"")
        assert kind == "text/javascript; charset=utf-8" and source.decode() == FILES[room]["main.js"]
        assert (shared := page_file(room, "elements.js")) == page_file("web", "elements.js") and shared
        for name in (
            "",
            "../__init__.py",
            "main.js/",
            "no_such.js",
            "MAIN.js",
            "main.js\n",
            "main.py",
            "a" * 41 + ".js",
        ):
            assert page_file(room, name) is None, name


def test_no_page_has_a_file_of_the_name_of_a_shared_one() -> None:
    shared = page_files("web")
    for room in ROOMS:
        assert {name for name in shared if FILES[room][name] != shared[name]} == set()
