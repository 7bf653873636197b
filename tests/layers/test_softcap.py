"""The head with bounded logits: its formula, its gradients, LoRA inside the cap, a resized vocabulary."""

import math

import numpy as np
import pytest
from layer_checks import every_gradient_of, randn

from tinygrad_llm import Tensor, manual_seed, nn
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune import apply_lora
from tinygrad_llm.models import Llama, LlamaConfig


def test_logits_are_bounded() -> None:
    manual_seed(0)
    head = nn.SoftcappedHead(nn.Linear(3, 5), 0.5).to(np.float64)
    x = 40 * randn(2, 4, 3)
    np.testing.assert_allclose(head(Tensor(x)).data, 0.5 * np.tanh(head.linear(Tensor(x)).data / 0.5), rtol=1e-12)
    assert np.abs(head(Tensor(x)).data).max() <= 0.5
    assert head.weight is head.linear.weight
    assert every_gradient_of(head, randn(2, 3))
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="softcap must be a finite number above 0; got"):
            nn.SoftcappedHead(nn.Linear(3, 5), wrong)


def test_lora_adds_its_update_before_the_cap_and_the_vocabulary_can_grow() -> None:
    manual_seed(0)
    model = Llama(LlamaConfig(11, 8, 8, 2, 1, logit_softcap=0.1, tie_weights=True))
    model.resize_token_embeddings(13)
    assert model.head.weight is model.token_embedding.weight and model.head.weight.shape == (13, 8)
    assert apply_lora(model, 2, 8.0, targets=["head.linear"]) == ["head.linear"]
    model.head.linear.lora_B.data[...] = 50.0
    assert np.abs(model(np.arange(5)).data).max() <= 0.1
