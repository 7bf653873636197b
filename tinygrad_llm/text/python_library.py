"""Texts that are always there: the topics of Python's documentation, the docstrings of its library and of NumPy.

`python_library` is made for training: it repeats no paragraph, and its last tenth, which `train` keeps for validation,
is a fair test of the rest: topics and docstrings from all over the alphabet, without near copies of the rest.
"""

import ast
import importlib
import importlib.util
import os
import pkgutil
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tinygrad_llm.errors import DataError

HELD_OUT = 0.125  # of the texts of each kind, by length; near copies fall away, and more than a tenth remains
SHORTEST = 40  # characters of a text, and of a paragraph that may stand only once: "For example:" may repeat
PROMPT = ">>> "  # a paragraph with it is an interactive example
PHRASE = 8  # words
KNOWN_SHARE = 0.5  # of the phrases of a text: above, it is a near copy
TESTS = {"test", "tests", "idle_test"}


def python_docs() -> str:
    """The documentation included in this Python (`pydoc_data.topics`), its topics in alphabetical order.

    About 465,000 characters; the text differs between versions of Python. Topics repeat parts of each other.

    Raises: DataError if the distribution has removed it
    """
    return "\n\n".join(_topics()) + "\n"


def python_library() -> str:
    """The same topics, the docstrings of the standard library and those of NumPy, by module, without repetitions.

    About 3.1 million characters. Interactive examples are left out, and paragraphs that came before. The held-out texts
    are at the end: of each kind one in eight, by length, without near copies of the others.

    Raises: DataError if the distribution has removed the documentation, or the sources
    """
    topics, library = _topics(), _docstrings(_library_sources())
    if not library:
        raise DataError(
            "this Python comes without the sources of its library, whose docstrings belong to the text: use "
            "--data python-docs, or name a text of your own with --data FILE"
        )
    seen: set[str] = set()
    kinds = [topics, library, _docstrings(_numpy_sources())]
    divided = [_divided(_without_repetitions(texts, seen)) for texts in kinds]
    training = [text for kept, _ in divided for text in kept]
    held_out = [text for _, held in reversed(divided) for text in held]
    return "\n\n".join(training + _without_near_copies(held_out, training)) + "\n"


def _topics() -> list[str]:
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except (ImportError, AttributeError):
        topics = None
    if not isinstance(topics, dict) or not topics:
        raise DataError(
            "this Python comes without its documentation (pydoc_data.topics), as some distributions strip it: "
            "name a text of your own with --data FILE"
        )
    return [topics[topic].strip("\n") for topic in sorted(topics)]


def _library_sources() -> Iterator[str]:
    beginning = getattr(os, "__file__", None)
    folder = os.path.dirname(beginning) if beginning else sysconfig.get_paths()["stdlib"]
    return _sources([folder], belongs=lambda name: name in sys.stdlib_module_names)


def _numpy_sources() -> Iterator[str]:
    spec = importlib.util.find_spec("numpy")
    return _sources((spec and spec.submodule_search_locations) or [], "numpy.")


def _sources(
    folders: Sequence[str], package: str = "", belongs: Callable[[str], bool] = lambda _: True
) -> Iterator[str]:
    """The sources of the modules in folders or zip files, in alphabetical order and without tests; none is run."""
    for module in sorted(pkgutil.iter_modules(folders, package), key=lambda module: module.name):
        if not belongs(module.name) or module.name.rpartition(".")[2] in TESTS:
            continue
        source, inner = _source_and_folders(module)
        yield source
        yield from _sources(inner, f"{module.name}.")


def _source_and_folders(module: pkgutil.ModuleInfo) -> tuple[str, Sequence[str]]:
    """The source of a module, empty where it comes compiled alone or broken, and a package's folders."""
    try:
        with warnings.catch_warnings(action="ignore"):  # a zip file's modules are compiled when they are found
            spec: Any = module.module_finder.find_spec(module.name, None)
            return spec.loader.get_source(module.name) or "", spec.submodule_search_locations or ()
    except (AttributeError, ImportError, OSError, SyntaxError, UnicodeError):
        return "", ()


def _docstrings(sources: Iterable[str]) -> list[str]:
    """The docstrings of modules, their classes and functions, in the order of their lines."""
    return [docstring for source in sources for _, docstring in sorted(_by_line(source))]


def _by_line(source: str) -> Iterator[tuple[int, str]]:
    try:
        with warnings.catch_warnings(action="ignore"):  # such as those of invalid escapes
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in nodes:
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if docstring := ast.get_docstring(node):
            yield getattr(node, "lineno", 0), docstring


def _without_repetitions(texts: Iterable[str], seen: set[str]) -> list[str]:
    """The texts without interactive examples, and without paragraphs that are in `seen`, to which theirs are added."""

    def is_new(paragraph: str) -> bool:
        words = " ".join(paragraph.split())
        is_known = words in seen
        seen.add(words)
        return PROMPT not in paragraph and (not is_known or len(words) < SHORTEST)

    rest = ("\n\n".join(filter(is_new, text.split("\n\n"))).strip("\n") for text in texts)
    return [text for text in rest if len(text) >= SHORTEST]


def _divided(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The texts to train on, and those held out: the next one whenever they have become too small a part."""
    training: list[str] = []
    held_out: list[str] = []
    length = length_held_out = 0
    for text in texts:
        if length_held_out < HELD_OUT * length:
            held_out.append(text)
            length_held_out += len(text)
        else:
            training.append(text)
        length += len(text)
    return training, held_out


def _without_near_copies(texts: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of the texts of which at most KNOWN_SHARE of the phrases stand in `others` too."""
    known = {phrase for text in others for phrase in _phrases(text)}
    return [text for text in texts if len((own := _phrases(text)) & known) <= KNOWN_SHARE * len(own)]


def _phrases(text: str) -> set[str]:
    """Every PHRASE words that follow each other."""
    words = text.split()
    return {" ".join(words[i : i + PHRASE]) for i in range(len(words) - PHRASE + 1)}
