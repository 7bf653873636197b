"""The numbers of the lens are right, and the model is left as it was."""

from typing import Any

import numpy as np
import pytest
from tiny_gpt import tiny

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import EncoderDecoder, Llama, LlamaConfig
from tinygrad_llm.models.encoder_decoder import EncoderDecoderConfig
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.study import lens
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.verify.model_cases import small_config

TOKENIZER = CharTokenizer(sorted("abcdefgh "))


def model(**changes: Any) -> GPT:
    return tiny(vocab_size=TOKENIZER.vocab_size, context_length=40, dtype=np.float32, **changes)


def test_losses_predictions_and_tokens_are_those_of_the_model() -> None:
    gpt, text = model(), "abc abca"
    seen = lens.look(gpt, TOKENIZER, text)
    ids = np.array(TOKENIZER.encode(text))
    gpt.eval()
    logits = gpt(ids).detach()
    losses = cross_entropy(logits[:-1], ids[1:], reduction="none").data
    assert [token["id"] for token in seen["tokens"]] == ids.tolist()
    assert [token["bytes"] for token in seen["tokens"]][:2] == ["61", "62"]
    np.testing.assert_allclose([token["loss"] for token in seen["tokens"][1:]], losses, rtol=1e-4)
    assert seen["tokens"][0]["loss"] is None
    answers = [row[0][0] for row in seen["predictions"][-1]]
    assert answers == logits.data.argmax(axis=-1).tolist()
    assert seen["predictions"][-2] == seen["predictions"][-1]  # the last block's stream is what the head reads


def test_the_model_is_left_as_it_was() -> None:
    gpt = model()
    gpt.blocks[0].requires_grad_(False)
    modes = [(part, part.training) for part in gpt.modules()]
    lens.look(gpt, TOKENIZER, "abc")
    assert all(part.training == mode for part, mode in modes)
    assert all(p.grad is None for p in gpt.parameters())
    assert not any(p.requires_grad for p in gpt.blocks[0].parameters())
    assert not any(part._forward_hooks for part in gpt.modules())


def test_costs_follow_the_formulas() -> None:
    seen = lens.look(model(), TOKENIZER, "abcd")
    costs = {cost["name"]: cost for cost in seen["costs"]}
    assert costs["blocks.0.feed_forward"]["flops"] == 2 * 2 * 4 * 8 * 32
    assert costs["blocks.0.attention"]["flops"] == 4 * 2 * 4 * 8 * 8 + 4 * 2 * 4 * 10
    assert costs["head"]["weightBytes"] == TOKENIZER.vocab_size * 8 * 4
    assert all(cost["seconds"] > 0 for cost in costs.values())


def test_only_active_experts_are_counted() -> None:
    changes = {"vocab_size": TOKENIZER.vocab_size, "context_length": 12, "num_experts": 4, "experts_per_token": 2}
    seen = lens.look(Llama(small_config(LlamaConfig, **changes)), TOKENIZER, "abcd")
    (cost,) = [one for one in seen["costs"] if one["name"] == "blocks.1.feed_forward"]
    assert cost["flops"] == 2 * 4 * 8 * 4 + 2 * (3 * 2 * 4 * 8 * 12)


def test_a_llama_can_be_inspected() -> None:
    llama = Llama(small_config(LlamaConfig, vocab_size=TOKENIZER.vocab_size, context_length=12))
    seen = lens.look(llama, TOKENIZER, "abc abca")
    assert [stream["name"] for stream in seen["streams"]] == ["embedding", "after block 0", "after block 1"]


def test_the_last_tokens_of_a_long_prompt_are_shown() -> None:
    seen = lens.look(model(), TOKENIZER, "a" + "abcd " * 100)
    assert "".join(token["text"] for token in seen["tokens"]) == "abcd " * 8
    assert seen["leftOut"] == ["the tokens before the last 40, of 501"]
    assert len(lens.look(model(), TOKENIZER, "abcd " * 5000)["leftOut"]) == 2


def test_short_prompts_and_other_models_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least two tokens"):
        lens.look(model(), TOKENIZER, "a")
    with pytest.raises(ConfigError, match="next token"):
        lens.look(EncoderDecoder(small_config(EncoderDecoderConfig)), TOKENIZER, "abc")
