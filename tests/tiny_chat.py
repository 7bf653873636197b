"""A Hugging Face folder of a tiny Llama that chats, as transformers would write it."""

from pathlib import Path
from typing import Any

from tinygrad_llm import manual_seed
from tinygrad_llm.formats import read_json, write_json
from tinygrad_llm.interop import save_huggingface
from tinygrad_llm.models import Llama, LlamaConfig
from tinygrad_llm.text import BPETokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|stop|>")  # ids 256 to 259


def chat_tokenizer() -> BPETokenizer:
    return BPETokenizer.train("", vocab_size=256 + len(SPECIAL), special_tokens=SPECIAL)


def save_chat_model(
    folder: Path, template: Any = CHATML, always: int | None = None, context_length: int = 128, **settings: Any
) -> Path:
    """Write the folder; with `always`, its model finds this token the most likely one after every text.

    `settings` are those of generation_config.json, if there are any.
    """
    tokenizer = chat_tokenizer()
    manual_seed(2)
    model = Llama(
        LlamaConfig(tokenizer.vocab_size, context_length, embedding_dim=16, num_heads=2, num_layers=2, dropout=0.0)
    )
    if always is not None:
        model.token_embedding.weight.data[:] = model.token_embedding.weight.data[0]  # every text has one hidden state
        model.head.weight.data[:] = 0
        model.head.weight.data[always] = model.hidden([0]).data[-1]
    save_huggingface(folder, model, tokenizer)
    path = folder / "tokenizer_config.json"
    tokens = {"bos_token": None, "eos_token": {"content": "<|im_end|>"}, "pad_token": "<|endoftext|>"}
    write_json(path, {**read_json(path), **tokens, **({} if template is None else {"chat_template": template})})
    if settings:
        write_json(folder / "generation_config.json", settings)
    return folder
