"""Opening models by any path: runs, Hugging Face folders, and what each records of its texts."""

from pathlib import Path

import numpy as np
import pytest
from tiny_base import make_base
from tiny_chat import CHATML, save_chat_model

from tinygrad_llm import load
from tinygrad_llm.errors import ConfigError, FormatError
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.runs.open_model import (
    chat_template_of,
    conventions_of,
    is_huggingface_folder,
    open_model,
    recorded_config,
    weight_files,
)


def test_a_run(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    model, tokenizer = load(base)
    assert type(model).__name__ == "GPT" and not is_huggingface_folder(base)
    assert conventions_of(base, tokenizer) == Conventions((256,)) and chat_template_of(base) is None
    assert recorded_config(base)["model_type"] == "gpt" and weight_files(base) == [base / "model.safetensors"]


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    folder = save_chat_model(tmp_path / "llama", eos_token_id=259)
    model, tokenizer = open_model(folder, "chat")
    assert type(model).__name__ == "Llama" and not model.training and model(np.arange(3)).shape == (3, 260)
    found = conventions_of(folder, tokenizer)
    assert set(found.end_ids) == {256, 258, 259} and found.template == chat_template_of(folder)
    assert found.template is not None and found.template.source == CHATML and recorded_config(folder) == {}
    with pytest.raises(ConfigError, match="--model must be a BERT"):
        open_model(folder, "bert")
    assert weight_files(folder) == [folder / "model.safetensors"]
    (folder / "model.safetensors").unlink()
    for name in ("model-2.safetensors", "model-1.safetensors"):
        (folder / name).touch()
    assert [path.name for path in weight_files(folder)] == ["model-1.safetensors", "model-2.safetensors"]
    (folder / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config\.json"):
        load(folder)
