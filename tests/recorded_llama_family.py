"""Folders of every member of the Llama family, with the figures that transformers computed from them.

`CONFIGS` are config.json files in the spelling of real models, `figures/llama_family.json` holds what transformers 5.24
gave for each in float64: the loss, the logits of the last token and the length of the gradient. The weights come from
this package's random stream and the names of the tensors; they are uniform, since the last bits of normal numbers
depend on the processor. `python tests/recorded_llama_family.py`, with PyTorch and transformers installed, records the
figures again.
"""

import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from tinygrad_llm import Generator
from tinygrad_llm.formats import write_json, write_safetensors
from tinygrad_llm.interop.llama import places
from tinygrad_llm.interop.llama_settings import read_settings

FIGURES = Path(__file__).parent / "interop" / "figures" / "llama_family.json"
VOCABULARY, LENGTH = 13, 20
IDS, TARGETS = (Generator(seed).randint(0, VOCABULARY, (2, LENGTH)) for seed in (3, 4))
SIZES = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 32,
    "hidden_size": 12,
    "intermediate_size": 10,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
FULL, SLIDING = "full_attention", "sliding_attention"
GEMMA = {"head_dim": 6, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}
QWEN = {"use_sliding_window": True, "sliding_window": 5}
CONFIGS: dict[str, dict[str, Any]] = {  # each as its family writes it on the hub, unless the name says otherwise
    "llama, linear": {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 500.0},
    "llama, YaRN": {
        "model_type": "llama",
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "beta_fast": 8},
    },
    "qwen2": {"model_type": "qwen2", **QWEN, "max_window_layers": 1, "rope_theta": 1e6, "tie_word_embeddings": True},
    "qwen3 of transformers 5": {
        "model_type": "qwen3",
        **QWEN,
        "head_dim": 6,
        "layer_types": [SLIDING, FULL, SLIDING],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "mistral": {"model_type": "mistral", "sliding_window": 4},
    "mistral, opened as ministral": {
        "model_type": "mistral",
        "head_dim": 4,
        "sliding_window": 4,
        "layer_types": [FULL] * 3,
    },
    "ministral": {
        "model_type": "ministral",
        "head_dim": 4,
        "sliding_window": 4,
        "layer_types": [FULL, SLIDING, SLIDING],
    },
    "mixtral, one expert": {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 1},
    "qwen3_moe": {
        "model_type": "qwen3_moe",
        "head_dim": 6,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "moe_intermediate_size": 7,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [1],
        "use_sliding_window": False,
        "sliding_window": 4,
        "max_window_layers": 1,
    },
    "qwen3_moe, every second layer": {
        "model_type": "qwen3_moe",
        **QWEN,
        "head_dim": 6,
        "num_experts": 3,
        "num_experts_per_tok": 2,
        "norm_topk_prob": False,
        "moe_intermediate_size": 7,
        "decoder_sparse_step": 2,
    },
    "gemma": {"model_type": "gemma", **GEMMA},
    "gemma2": {
        "model_type": "gemma2",
        **GEMMA,
        "attn_logit_softcapping": 3.0,
        "final_logit_softcapping": 5.0,
        "query_pre_attn_scalar": 9,
        "sliding_window": 4,
        "cache_implementation": "hybrid",
        "rope_theta": 10000.0,
    },
    "gemma3_text": {
        "model_type": "gemma3_text",
        **GEMMA,
        "attn_logit_softcapping": 3.0,
        "query_pre_attn_scalar": 9,
        "sliding_window": 4,
        "sliding_window_pattern": 2,
        "rope_theta": 1e6,
        "rope_local_base_freq": 100.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "gemma3_text of transformers 5": {
        "model_type": "gemma3_text",
        **GEMMA,
        "final_logit_softcapping": 6.0,
        "sliding_window": 4,
        "layer_types": [SLIDING, FULL, FULL],
        "rope_parameters": {
            FULL: {"rope_type": "default", "rope_theta": 1e6},
            SLIDING: {"rope_type": "default", "rope_theta": 50.0},
        },
    },
    "olmo2": {"model_type": "olmo2", "rope_theta": 500000.0, "attention_bias": False, "rope_scaling": None},
    "olmo3": {
        "model_type": "olmo3",
        "num_hidden_layers": 4,
        "rope_theta": 500000,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 16,
            "attention_factor": 1.2079441541679836,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
        },
        "sliding_window": 4,
        "layer_types": [SLIDING, SLIDING, SLIDING, FULL],
    },
}


def write_member(folder: Path, name: str) -> None:
    """config.json and float64 weights of one member, as a folder of the hub has them."""
    folder.mkdir()
    write_json(folder / "config.json", {**SIZES, **CONFIGS[name]})
    settings, member = read_settings(folder / "config.json")
    tensors = {}
    for place in places(settings, member):
        generator = Generator(zlib.crc32(place.theirs.encode()))
        around = 0.8 if "norm" in place.theirs else 0.0
        tensors[place.theirs] = around + generator.randint(-700, 701, place.shape) / 1000
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})


def transformers_figures(folder: Path) -> dict[str, Any]:
    """What transformers computes from a folder, all of it in float64."""
    import torch
    import transformers
    from wider_torch import widen

    config = transformers.AutoConfig.from_pretrained(folder)
    widen(lambda owner, attribute, value: setattr(owner, attribute, value), config.model_type)
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True
    )
    assert not any(loading.values()), loading
    if hasattr(model.config, "_experts_implementation"):
        model.config._experts_implementation = "eager"  # the default one has no float64
    logits = model.eval()(torch.tensor(IDS)).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(TARGETS).flatten())
    loss.backward()
    squares = sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None)
    return {
        "loss": float(loss.detach()),
        "last_logits": [round(number, 9) for number in logits[1, -1].tolist()],
        "gradient_norm": squares**0.5,
    }


def main() -> None:
    figures = {}
    for name in CONFIGS:
        with tempfile.TemporaryDirectory() as temporary:
            write_member(Path(temporary) / "model", name)
            figures[name] = transformers_figures(Path(temporary) / "model")
        print(name, figures[name]["loss"])
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
