"""A model with its tokenizer in a Hugging Face folder.

config.json, model.safetensors      see models/gpt_huggingface.py, llama_huggingface.py and bert_huggingface.py
the tokenizer's files               see text/huggingface_tokenizer.py
"""

import os
from pathlib import Path

from tinygrad_llm.errors import CheckpointError, FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.models import GPT, Bert, LanguageModel, Llama
from tinygrad_llm.models.huggingface_weights import CONFIG
from tinygrad_llm.models.llama_huggingface import MEMBERS
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.huggingface_tokenizer import expect_huggingface_tokenizer, read_huggingface_tokenizer
from tinygrad_llm.text.tokenizer import TOKENIZER_FILE

MODEL_OF_TYPE: dict[str, type[LanguageModel] | type[Bert]] = {
    "gpt2": GPT,
    "bert": Bert,
    **dict.fromkeys(MEMBERS, Llama),
}


def load_huggingface(
    folder: str | os.PathLike[str], dropout: float | None = None
) -> tuple[LanguageModel | Bert, Tokenizer]:
    """The GPT-2, Llama or BERT in a Hugging Face folder, in evaluation mode, and its tokenizer.

    `dropout` as in the model's own `from_pretrained`.

    Raises: FormatError for a file that is missing, damaged or asks for what is not computed here, and where the
            tokenizer has ids that the model does not
    """
    tokenizer = read_huggingface_tokenizer(folder)  # first: it is quick, and weights may be large
    model_type = read_json_object(Path(folder) / CONFIG).get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_OF_TYPE:
        raise FormatError(
            f"{Path(folder) / CONFIG}: model_type must be one of {', '.join(MODEL_OF_TYPE)}; got {shown(model_type)}"
        )
    model = MODEL_OF_TYPE[model_type].from_pretrained(folder, dropout)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise FormatError(
            f"{os.fspath(folder)}: the model must have a row for each token; its vocab_size is "
            f"{model.config.vocab_size}, and the tokenizer has {tokenizer.vocab_size} tokens"
        )
    return model, tokenizer


def save_huggingface(folder: str | os.PathLike[str], model: LanguageModel | Bert, tokenizer: Tokenizer) -> str | None:
    """Write model and tokenizer into a new or empty folder; says what transformers will miss, None if nothing.

    A tokenizer that Hugging Face's files cannot hold is kept in the file of this package.

    Raises: CheckpointError where the folder holds something already or cannot be written, and as
            the model's own `save_pretrained`
    """
    folder = Path(folder)
    try:
        if os.path.lexists(folder) and os.listdir(folder):
            raise CheckpointError(f"{folder}: must be a new or empty folder, for its files would mix; choose another")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{folder}: must be a folder that can be written; {error}") from None
    try:
        expect_huggingface_tokenizer(tokenizer)
    except TokenizerError as error:
        model.save_pretrained(folder)
        tokenizer.save(folder)
        return f"transformers opens the model without its tokenizer, which is in {TOKENIZER_FILE}: {error}"
    model.save_pretrained(folder, tokenizer)
    return None
