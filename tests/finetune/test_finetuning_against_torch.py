"""DPO and LoRA in PyTorch and here, in float64: losses, margins, outputs, and the gradient of every parameter.

Skipped where PyTorch is not installed; nothing in the package needs it.
"""

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_gpt import TorchGPT, our_name  # noqa: E402

from tinygrad_llm import Tensor, no_grad  # noqa: E402
from tinygrad_llm.data import PreferenceBatch, TokenizedPreference, collate_preferences  # noqa: E402
from tinygrad_llm.finetune import (  # noqa: E402
    DPO,
    LoRALinear,
    apply_lora,
    evaluate_preferences,
    frozen_copy,
    merge_lora,
    unmerge_lora,
)
from tinygrad_llm.models import GPT, GPTConfig  # noqa: E402
from tinygrad_llm.nn import Linear  # noqa: E402
from tinygrad_llm.random import Generator  # noqa: E402

CONFIG = GPTConfig(vocab_size=37, context_length=24, embedding_dim=24, num_heads=3, num_layers=2, dropout=0.0)
PAIRS = [  # answers of different lengths, one of a single token, one that is cut, and prompts of different lengths
    TokenizedPreference([1, 2, 3, 4], [1, 2, 5], 2),
    TokenizedPreference([6, 7, 8], [6, 7, 9, 10, 11, 12, 13, 14], 2),
    TokenizedPreference([12, 13], [12, 14, 15], 1),
    TokenizedPreference([*range(16, 30)], [16, 17, 18, 19, 31, 5], 4),
]
BOUND = {"rtol": 0, "atol": 1e-9}
TARGETS = {  # the last parts of our names, and of PyTorch's
    "attention": (["query", "value"], ["query", "value"]),
    "feed-forward": (["1.feed_forward.up", "down"], ["1.up", "down"]),
    "all": (None, ["query", "key", "value", "output", "up", "down", "head"]),
}


def pair(seed: Any, **changes: Any) -> Any:
    """The same model twice, with the weights of PyTorch's, none of them 0."""
    config = GPTConfig(**{**CONFIG.to_dict(), **changes})
    torch.manual_seed(seed)
    theirs = TorchGPT(config).to(torch.float64)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.float64) * 0.1)
    ours = GPT(config).to(np.float64)
    ours.load_state_dict({our_name(name): value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


# -- DPO


def torch_log_probs(model: Any, ids: Any, mask: Any, average: Any) -> Any:
    """The definition, token by token and row by row: ln p of each token that the mask has, given those before it."""
    rows = []
    for row, chosen in zip(torch.tensor(ids), torch.tensor(mask), strict=True):
        log_p = model(row[None])[0].log_softmax(-1)
        of_tokens = [log_p[place - 1, row[place]] for place in range(1, len(row)) if chosen[place]]
        rows.append(torch.stack(of_tokens).mean() if average else torch.stack(of_tokens).sum())
    return torch.stack(rows)


def torch_dpo(policy: Any, reference: Any, batch: Any, beta: Any, average: Any) -> Any:
    """Loss, rewards of the chosen, rewards of the rejected."""
    with torch.no_grad():
        chosen_start = torch_log_probs(reference, batch.chosen, batch.chosen_mask, average)
        rejected_start = torch_log_probs(reference, batch.rejected, batch.rejected_mask, average)
    chosen = torch_log_probs(policy, batch.chosen, batch.chosen_mask, average) - chosen_start
    rejected = torch_log_probs(policy, batch.rejected, batch.rejected_mask, average) - rejected_start
    return -torch.nn.functional.logsigmoid(beta * (chosen - rejected)).mean(), chosen, rejected


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("mask_prompt", [True, False])
@pytest.mark.parametrize("changes", [{}, {"tie_weights": True, "qkv_bias": True}])
def test_loss_margins_and_every_gradient_of_dpo(average: Any, mask_prompt: Any, changes: Any) -> None:
    (ours, theirs), (reference, their_reference) = pair(1, **changes), pair(2, **changes)
    batch = collate_preferences(PAIRS, pad_id=0, allowed_max_length=12, mask_prompt=mask_prompt)
    assert not batch.chosen_mask.all() and not batch.rejected_mask.all()  # there is padding
    dpo = DPO(reference, beta=0.7, average=average)
    outcome = dpo.outcome(ours, batch)
    loss, chosen, rejected = torch_dpo(theirs, their_reference, batch, 0.7, average)
    assert abs(outcome.loss.item() - loss.item()) < 1e-9
    np.testing.assert_allclose(outcome.chosen_rewards, chosen.detach().numpy(), **BOUND)
    np.testing.assert_allclose(outcome.rejected_rewards, rejected.detach().numpy(), **BOUND)
    margins = (chosen - rejected).detach().numpy()
    report = evaluate_preferences(ours, dpo, [batch])
    assert abs(report.margin - margins.mean()) < 1e-9
    assert report.accuracy == (margins > 0).mean()

    outcome.loss.backward()
    loss.backward()
    ours_named = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        gradient = ours_named.pop(our_name(name)).grad
        np.testing.assert_allclose(gradient, parameter.grad.numpy(), **BOUND, err_msg=name)
        assert name.endswith("key.bias") or np.abs(gradient).max() > 1e-6, name  # there is something to compare
    assert not ours_named
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_wider_padding_and_other_padding_ids_give_pytorch_s_loss_and_gradients_too() -> None:
    (ours, theirs), (reference, their_reference) = pair(1), pair(2)
    narrow = collate_preferences(PAIRS, pad_id=0)
    torch_dpo(theirs, their_reference, narrow, 0.1, True)[0].backward()
    for pad_id in (0, 36):
        wide = PreferenceBatch(
            *[np.pad(ids, ((0, 0), (0, 6)), constant_values=pad_id) for ids in narrow[:2]],
            *[np.pad(mask, ((0, 0), (0, 6))) for mask in narrow[2:]],
        )
        ours.zero_grad()
        DPO(reference)(ours, wide).backward()
        ours_named = dict(ours.named_parameters())
        for name, parameter in theirs.named_parameters():
            np.testing.assert_allclose(ours_named[our_name(name)].grad, parameter.grad.numpy(), **BOUND, err_msg=name)


# -- LoRA


class TorchLoRA(torch.nn.Module):
    """x Wᵀ + b + s · x A B, written with PyTorch's matrix products."""

    def __init__(self, linear: Any, a: Any, b: Any, scale: Any) -> None:
        super().__init__()
        self.linear, self.scale = linear, scale
        self.lora_A, self.lora_B = (torch.nn.Parameter(torch.tensor(part)) for part in (a, b))

    def forward(self, x: Any) -> Any:
        y = x @ self.linear.weight.T + self.scale * (x @ self.lora_A @ self.lora_B)
        return y if self.linear.bias is None else y + self.linear.bias


def adapted_pair(targets: Any, rank: Any = 3, alpha: Any = 2.5) -> Any:
    """A pair of models with the same adapter, whose B are no longer 0."""
    ours, theirs = pair(3, qkv_bias=True)
    names = apply_lora(ours, rank, alpha, TARGETS[targets][0])
    generator, layers = Generator(5), dict(ours.named_modules())
    theirs.requires_grad_(False)
    adapted = []
    for name, module in list(theirs.named_modules()):
        if any(f".{name}".endswith(f".{target}") for target in TARGETS[targets][1]):
            layer = layers[our_name(f"{name}.weight").removesuffix(".weight")]
            assert isinstance(layer, LoRALinear)
            layer.lora_B.data[...] = generator.randn(*layer.lora_B.shape, dtype=np.float64)
            parent, _, attribute = name.rpartition(".")
            setattr(
                theirs.get_submodule(parent),
                attribute,
                TorchLoRA(module, layer.lora_A.data, layer.lora_B.data, alpha / rank),
            )
            adapted.append(name)
    assert len(adapted) == len(names)
    return ours, theirs


@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_every_gradient_of_one_layer(bias: Any) -> None:
    generator = Generator(1)
    base = Linear(6, 5, bias=bias).to(np.float64)
    layer = LoRALinear(base, rank=2, alpha=3)
    layer.lora_B.data[...] = generator.randn(2, 5, dtype=np.float64)
    x, dy = (generator.randn(4, 3, width, dtype=np.float64) for width in (6, 5))
    linear = torch.nn.Linear(6, 5, bias=bias, dtype=torch.float64).requires_grad_(False)
    linear.load_state_dict({name: torch.tensor(p.data) for name, p in base.named_parameters()})
    theirs = TorchLoRA(linear, layer.lora_A.data, layer.lora_B.data, 3 / 2)
    our_x, their_x = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = layer(our_x), theirs(their_x)
    np.testing.assert_allclose(y.data, expected.detach().numpy(), **BOUND)
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    for name, tensor, wanted in (
        ("x", our_x, their_x),
        ("A", layer.lora_A, theirs.lora_A),
        ("B", layer.lora_B, theirs.lora_B),
    ):
        np.testing.assert_allclose(tensor.grad, wanted.grad.numpy(), **BOUND, err_msg=name)
    assert all(parameter.grad is None for parameter in base.parameters())


@pytest.mark.parametrize("targets", TARGETS)
def test_logits_and_every_gradient_of_an_adapted_gpt(targets: Any) -> None:
    ours, theirs = adapted_pair(targets)
    ids = Generator(6).randint(0, CONFIG.vocab_size, (3, 11))
    inputs, wanted = ids[:, :-1], ids[:, 1:].copy()
    wanted[1, 4:] = -100
    loss, their_loss = ours.loss(inputs, wanted), theirs.loss(torch.tensor(inputs), torch.tensor(wanted))
    assert abs(loss.item() - their_loss.item()) < 1e-9
    loss.backward()
    their_loss.backward()
    compared, ours_named = 0, dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            gradient = ours_named[our_name(name)].grad
            np.testing.assert_allclose(gradient, parameter.grad.numpy(), **BOUND, err_msg=name)
            assert np.abs(gradient).max() > 1e-6, name
            compared += 1
    trained = {name for name, parameter in ours_named.items() if parameter.grad is not None}
    assert len(trained) == compared and all("lora_" in name for name in trained)

    with no_grad(), torch.no_grad():
        expected = theirs(torch.tensor(inputs)).numpy()
        unmerged = ours(inputs).data
        np.testing.assert_allclose(unmerged, expected, **BOUND)
        before = {name: array.tobytes() for name, array in ours.state_dict().items()}
        merge_lora(ours)
        np.testing.assert_allclose(ours(inputs).data, expected, **BOUND)
        unmerge_lora(ours)
        np.testing.assert_array_equal(ours(inputs).data, unmerged)
    assert {name: array.tobytes() for name, array in ours.state_dict().items()} == before


def test_dpo_through_an_adapter() -> None:
    ours, theirs = adapted_pair("attention")
    reference, their_reference = frozen_copy(ours), copy.deepcopy(theirs)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.mul_(1.5)
    for name, parameter in ours.named_parameters():
        if "lora_B" in name:
            parameter.data *= 1.5
    batch = collate_preferences(PAIRS, pad_id=0)
    DPO(reference, beta=0.3)(ours, batch).backward()
    torch_dpo(theirs, their_reference, batch, 0.3, True)[0].backward()
    ours_named = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            np.testing.assert_allclose(ours_named[our_name(name)].grad, parameter.grad.numpy(), **BOUND, err_msg=name)
