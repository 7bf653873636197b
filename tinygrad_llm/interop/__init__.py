"""Reading and writing models in Hugging Face folders, and downloading them from the hub."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.architectures import load_huggingface
    from tinygrad_llm.interop.chat_form import ChatForm
    from tinygrad_llm.interop.chat_template import ChatTemplate
    from tinygrad_llm.interop.conventions import Conventions, huggingface_conventions
    from tinygrad_llm.interop.extended_vocabulary import extend_vocabulary
    from tinygrad_llm.interop.gguf import load_gguf
    from tinygrad_llm.interop.huggingface_folder import save_huggingface
    from tinygrad_llm.interop.parity import can_compare, logit_difference
    from tinygrad_llm.interop.tokenizer_json import tokenizer_from_json

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["ChatForm", "ChatTemplate", "Conventions", "can_compare", "extend_vocabulary"]
__all__ += ["huggingface_conventions", "load_gguf", "load_huggingface", "logit_difference", "save_huggingface"]
__all__ += ["tokenizer_from_json"]
