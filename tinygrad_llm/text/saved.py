"""Opening the tokenizer that a folder holds, whatever its kind."""

import os
from pathlib import Path

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.characters import CharTokenizer
from tinygrad_llm.text.gpt2 import GPT2Tokenizer
from tinygrad_llm.text.tokenizer import TOKENIZER_FILE, TOKENIZER_FILE_VERSION, Tokenizer
from tinygrad_llm.text.wordpiece import WordPieceTokenizer
from tinygrad_llm.text.words import SimpleTokenizerV1, SimpleTokenizerV2

KINDS: dict[str, type[Tokenizer]] = {
    tokenizer.kind: tokenizer
    for tokenizer in (
        CharTokenizer,
        SimpleTokenizerV1,
        SimpleTokenizerV2,
        BPETokenizer,
        GPT2Tokenizer,
        WordPieceTokenizer,
    )
}


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that `save` wrote into `folder`.

    Raises: FormatError if the folder holds none, or a file that `save` did not write
    """
    path = Path(folder) / TOKENIZER_FILE
    manifest = read_json_object(path)
    version, kind = manifest.get("version"), manifest.get("kind")
    if type(version) is not int or version < 1:
        raise FormatError(f"{path}: 'version' must be a positive integer; got {version!r}")
    if version > TOKENIZER_FILE_VERSION:
        raise FormatError(
            f"{path}: written by a newer version of this package (file version {version}, known up to "
            f"{TOKENIZER_FILE_VERSION}): update the package"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        raise FormatError(f"{path}: 'kind' must be one of {', '.join(KINDS)}; got {kind!r}")
    try:
        return KINDS[kind].from_state(manifest)
    except TokenizerError as error:
        raise FormatError(f"{path}: {error}") from error
