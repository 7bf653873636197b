"""The named texts of the book and the demos: local path, public address, size and sha256.

A named text is searched in the folder of the environment variable TINYGRAD_LLM_DATA, then in the cache folder
(`$XDG_CACHE_HOME/tinygrad_llm`, else `~/.cache/tinygrad_llm`). Nothing is downloaded unless `download(name)` is called,
which stores a text in the cache after checking its size and sha256. `python-docs` and `python-library` need no file,
since they come with Python (`python_library.py`).
"""

import dataclasses
import io
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from tinygrad_llm.errors import DataError, DownloadError
from tinygrad_llm.formats import fetch
from tinygrad_llm.text.python_library import python_docs, python_library

DATA_VARIABLE = "TINYGRAD_LLM_DATA"

BOOK = "https://raw.githubusercontent.com/rasbt/LLMs-from-scratch/main"
GPT2 = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main"


@dataclasses.dataclass(frozen=True)
class PublicFile:
    """One file: its path in a data folder, its public address, and the size in bytes and sha256 of its content."""

    name: str
    url: str
    size: int
    sha256: str
    unpack: Callable[[bytes], bytes] | None = None


def _sms_messages(archive: bytes) -> bytes:
    """The member `SMSSpamCollection` of UCI's archive, with CR LF line ends.

    Raises: DownloadError
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as unpacked, unpacked.open("SMSSpamCollection") as member:
            content = member.read(1_000_000)  # twice its size: limits what a malicious archive can unpack to
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise DownloadError(f"UCI's archive must be a zip with the member SMSSpamCollection; {error}") from None
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


CORPORA: dict[str, tuple[PublicFile, ...]] = {
    "the-verdict": (
        PublicFile(
            "the-verdict.txt",
            f"{BOOK}/ch02/01_main-chapter-code/the-verdict.txt",
            20_479,
            "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
        ),
    ),
    "tinyshakespeare": (
        PublicFile(
            "tinyshakespeare.txt",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            1_115_394,
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
    "sms-spam": (
        PublicFile(
            "sms_spam_collection.tsv",
            "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
            483_481,
            "55341228082b25b832a5868a5ab4b038142a57f70c676c123280af6ff457fe46",
            _sms_messages,
        ),
    ),
    "instructions": (
        PublicFile(
            "instruction-data.json",
            f"{BOOK}/ch07/01_main-chapter-code/instruction-data.json",
            203_524,
            "7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944",
        ),
    ),
    "preferences": (
        PublicFile(
            "instruction-data-with-preference.json",
            f"{BOOK}/ch07/04_preference-tuning-with-dpo/instruction-data-with-preference.json",
            386_968,
            "305315abf14f65fa42c01a0877572f832606571c2a7d49f152ac1d758b16756e",
        ),
    ),
    "gpt2-vocabulary": (
        PublicFile(
            "gpt2/encoder.json",
            f"{GPT2}/encoder.json",
            1_042_301,
            "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        ),
        PublicFile(
            "gpt2/vocab.bpe",
            f"{GPT2}/vocab.bpe",
            456_318,
            "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        ),
    ),
}

PYTHON_DOCS, PYTHON_LIBRARY = "python-docs", "python-library"
WITH_PYTHON: dict[str, Callable[[], str]] = {PYTHON_DOCS: python_docs, PYTHON_LIBRARY: python_library}
NAMES = (*CORPORA, *WITH_PYTHON)


def cache_folder() -> Path:
    """The folder of downloads.

    Raises: DataError if the user has no home folder
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the XDG standard ignores a relative path
        return Path(named) / "tinygrad_llm"
    try:
        return Path.home() / ".cache" / "tinygrad_llm"
    except RuntimeError:
        raise DataError("a cache folder needs a home folder; set XDG_CACHE_HOME to an absolute path") from None


def find(name: str) -> Path:
    """The path of a named text, or for `gpt2-vocabulary` the folder of its two files.

    Raises: DataError if it is not found, telling how to get it
    """
    files = _files_of(name)
    given = os.environ.get(DATA_VARIABLE, "")
    folders = [Path(given)] if given else []
    folders.append(cache_folder())
    for folder in folders:
        try:
            if all((folder / file.name).is_file() for file in files):
                return folder / files[0].name if len(files) == 1 else (folder / files[0].name).parent
        except (OSError, ValueError):  # a folder that cannot be read
            continue
    wanted = " and ".join(file.name for file in files)
    raise DataError(
        f"the text {name!r} was not found (searched {wanted} in {' and '.join(map(str, folders))}): set "
        f"{DATA_VARIABLE} to a folder that holds it, or fetch it once with "
        f"`python -c \"from tinygrad_llm.text import corpora; corpora.download('{name}')\"`"
    )


def load_text(name: str) -> str:
    """A named text as a str; line ends are unchanged.

    Raises: DataError if it is not found or not UTF-8
    """
    if name in WITH_PYTHON:
        return WITH_PYTHON[name]()
    path = find(name)
    if len(_files_of(name)) > 1:
        raise DataError(f"{name!r} is a folder of {len(_files_of(name))} files, not a text: open them from {path}")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: must be UTF-8; byte {error.start} is not: is this the file {name!r} names?") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def download(name: str, time_limit: float = 600.0, progress: Callable[[int, int], None] | None = None) -> Path:
    """Download a named text from its public address into the cache folder, unless it is there; returns its path.

    Units: time_limit in seconds, for each file; progress gets bytes done and bytes in total
    Raises: DownloadError if it cannot be downloaded, or has another size or sha256
    """
    files = _files_of(name)
    paths = [
        fetch(
            file.url,
            cache_folder() / file.name,
            size=file.size,
            sha256=file.sha256,
            time_limit=time_limit,
            progress=progress,
            unpack=file.unpack,
        )
        for file in files
    ]
    return paths[0] if len(paths) == 1 else paths[0].parent


def _files_of(name: str) -> tuple[PublicFile, ...]:
    if name in WITH_PYTHON:
        raise DataError(f"{name!r} comes with Python and has no file of its own: use load_text({name!r})")
    if name not in CORPORA:
        raise DataError(f"a named text must be one of {', '.join(NAMES)}; got {name!r}")
    return CORPORA[name]
