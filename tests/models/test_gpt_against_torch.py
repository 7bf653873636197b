"""The same GPT in PyTorch and here: first values, logits, loss, every gradient, and the weights after training.

Skipped where PyTorch is not installed; nothing in the package needs it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch_gpt import TorchGPT, our_name  # noqa: E402

from tinygrad_llm import manual_seed, no_grad  # noqa: E402
from tinygrad_llm.models import GPT, GPTConfig  # noqa: E402
from tinygrad_llm.optim import AdamW, clip_grad_norm_  # noqa: E402

CONFIG = GPTConfig(vocab_size=61, context_length=80, embedding_dim=24, num_heads=3, num_layers=3, dropout=0.0)


def pair(dtype: Any, **changes: Any) -> Any:
    """The same model twice, with the weights of PyTorch's."""
    config = GPTConfig(**{**CONFIG.to_dict(), **changes})
    torch.manual_seed(0)
    theirs = TorchGPT(config).to(torch.float64 if dtype == np.float64 else torch.float32)
    with torch.no_grad():  # norms that do something
        for name, p in theirs.named_parameters():
            if "norm" in name:
                p.add_(torch.randn(p.shape, dtype=p.dtype) * 0.2)
    ours = GPT(config).to(dtype)
    # Ours are loaded with both names of a tied weight, as PyTorch lists them.
    ours.load_state_dict({our_name(name): value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


def batches(count: int, length: Any = CONFIG.context_length) -> Iterator[Any]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        ids = torch.randint(0, CONFIG.vocab_size, (4, length + 1), generator=generator)
        yield ids[:, :-1], ids[:, 1:].clone()


MAX_NORM = 0.1  # low enough to clip each of these steps
VARIANTS = [{}, {"tie_weights": True}, {"qkv_bias": True}, {"num_heads": 1}, {"num_heads": 24}]


def relative_error(actual: Any, expected: Any) -> Any:
    """The largest difference, in units of the largest expected number."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 5e-6)])
def test_logits_loss_and_every_gradient(changes: dict[str, Any], dtype: Any, tolerance: Any) -> None:
    ours, theirs = pair(dtype, **changes)
    ((ids, targets),) = batches(1)
    targets[1, 5:50] = -100
    with no_grad(), torch.no_grad():
        logits, expected = ours(ids.numpy()).data, theirs(ids).numpy()
    assert logits.dtype == dtype
    assert relative_error(logits, expected) < tolerance
    ours_loss, theirs_loss = ours.loss(ids.numpy(), targets.numpy()), theirs.loss(ids, targets)
    assert abs(ours_loss.item() - theirs_loss.item()) < tolerance * theirs_loss.item()
    ours_loss.backward()
    theirs_loss.backward()
    compared, ours_named = set(), dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        gradient, wanted = ours_named[our_name(name)].grad, parameter.grad.numpy()
        assert gradient.dtype == dtype
        if name.endswith("key.bias"):  # softmax does not feel a shift of all scores: the true gradient is 0
            assert np.abs(gradient).max() < tolerance
            assert np.abs(wanted).max() < tolerance
        else:
            assert relative_error(gradient, wanted) < tolerance * 10, name
        if dtype == np.float64:
            np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-9, err_msg=name)
        compared.add(our_name(name))
    assert compared == set(ours_named)


@pytest.mark.parametrize("changes", [{}, {"tie_weights": True, "qkv_bias": True}])
def test_weights_after_twenty_clipped_steps_of_adamw(changes: dict[str, Any]) -> None:
    ours, theirs = pair(np.float64, **changes)
    settings = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    optimizer = AdamW(ours.parameters(), **settings)
    their_optimizer = torch.optim.AdamW(theirs.parameters(), **settings)
    losses, clipped = [], 0
    for ids, targets in batches(20):
        ours.zero_grad()
        loss = ours.loss(ids.numpy(), targets.numpy())
        loss.backward()
        norm = clip_grad_norm_(ours.parameters(), MAX_NORM)
        optimizer.step()
        their_optimizer.zero_grad()
        their_loss = theirs.loss(ids, targets)
        their_loss.backward()
        their_norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), MAX_NORM).item()
        their_optimizer.step()
        assert abs(loss.item() - their_loss.item()) < 1e-9
        assert abs(norm - their_norm) < 1e-9
        losses.append(loss.item())
        clipped += norm > MAX_NORM
    assert losses[-1] < losses[0]
    assert clipped == 20
    ours_named = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        # A key's bias has a gradient of 0 but for rounding, and Adam divides by its size: there is nothing to compare.
        if not name.endswith("key.bias"):
            actual, wanted = ours_named[our_name(name)].data, parameter.detach().numpy()
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", [0, 123, 789])
@pytest.mark.parametrize("changes", [{}, {"qkv_bias": True}, {"vocab_size": 7, "embedding_dim": 3}])
def test_a_seed_gives_pytorch_s_first_values(seed: int, changes: dict[str, Any]) -> None:
    config = GPTConfig(**{**CONFIG.to_dict(), **changes})
    torch.manual_seed(seed)
    theirs = TorchGPT(config)
    manual_seed(seed)
    ours = dict(GPT(config).named_parameters())
    assert len(ours) == len(list(theirs.parameters()))
    for name, parameter in theirs.named_parameters():
        actual, wanted = ours[our_name(name)].data, parameter.detach().numpy()
        if "embedding" in name:  # normals pass through log and cos, whose last digits differ between libraries
            np.testing.assert_allclose(actual, wanted, rtol=3e-7, atol=3e-7, err_msg=name)
        else:
            np.testing.assert_array_equal(actual, wanted, err_msg=name)


def test_dropout_draws_the_book_s_masks_in_the_book_s_order() -> None:
    torch.manual_seed(5)
    plain = torch.nn.functional.dropout(torch.ones(1000), 0.3).numpy() > 0
    torch.manual_seed(5)
    if not np.array_equal(plain, torch.rand(1000, dtype=torch.float64).numpy() < 0.7):
        pytest.skip("this PyTorch draws its dropout masks from another stream (MKL)")
    ours, theirs = pair(np.float32, dropout=0.2, qkv_bias=True)
    ((ids, _),) = batches(1)
    manual_seed(6)
    torch.manual_seed(6)
    with no_grad(), torch.no_grad():
        logits, expected = ours(ids.numpy()).data, theirs(ids).numpy()
        assert relative_error(logits, expected) < 5e-6
        assert relative_error(logits, theirs.eval()(ids).numpy()) > 0.1  # dropout did something
