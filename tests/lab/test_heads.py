"""Looks at the forward: shares, promises and heads that are switched off."""

import numpy as np
import pytest
from tiny_lab import PROMPT, asking, tiny_beginning

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.heads import ablate, look, look_at_head, loss_of
from tinygrad_llm.lab.packing import pack, unpack
from tinygrad_llm.lab.views import View
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.study import cache, edit, zero


@pytest.fixture(scope="module")
def view() -> View:
    """A model whose heads matter: its weights are far from 0."""
    beginning = tiny_beginning()
    for parameter in beginning.model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 15
    return View("a model", None, beginning.model, beginning.tokenizer)


def ids_of(view: View) -> np.ndarray:
    return np.array(view.tokenizer.encode(PROMPT))


def test_a_look_is_what_the_model_computes(view: View) -> None:
    found = unpack(pack(look(view, PROMPT)))
    ids = ids_of(view)
    view.model.eval()
    seen = cache(view.model, ids[:-1], targets=ids[1:])
    assert found["loss"] == pytest.approx(seen.loss, rel=1e-5)
    assert np.allclose(found["logits"], view.model(ids).data[-1], atol=1e-5)
    assert [token["id"] for token in found["tokens"]] == ids.tolist()
    whole = cache(view.model, ids)
    lower = np.tril_indices(len(ids))
    heads = np.concatenate([whole[f"blocks.{layer}.attention.weights"] for layer in range(2)])
    assert np.abs(found["heads"]["shares"] - heads[:, lower[0], lower[1]]).max() <= 1 / 65_535
    sizes = [
        seen.gradients[f"blocks.{layer}.attention.weights"] * seen[f"blocks.{layer}.attention.weights"]
        for layer in (0, 1)
    ]
    promised = -np.concatenate(sizes).astype(np.float64).sum(axis=(1, 2))
    assert np.allclose(found["heads"]["promised"], promised, rtol=1e-3, atol=1e-7)


def test_the_scores_come_back_from_shares_and_log_sums(view: View) -> None:
    found = unpack(pack(look(view, PROMPT)))["heads"]
    one = look_at_head(view, PROMPT, 1, 0)
    row = np.log(one["shares"][5, :6]) + found["logSums"].reshape(4, -1)[2, 5]
    assert np.allclose(row, one["scores"][5, :6], atol=1e-4)
    assert found["scales"][2] == pytest.approx(one["scale"])


def test_heads_switched_off_equal_study_edit(view: View) -> None:
    """The measured change is that of study.edit on the same weights, and the logits too."""
    ids = ids_of(view)
    view.model.eval()

    def losses() -> float:
        return float(cross_entropy(view.model(ids[:-1]), ids[1:]).item())

    before = losses()
    with edit(
        view.model, {"blocks.0.attention.weights": zero(heads=[1]), "blocks.1.attention.weights": zero(heads=[0])}
    ):
        after, logits = losses(), view.model(ids).data[-1]
    found = look(view, PROMPT, [(1, 0), (0, 1)])
    assert found["off"]["measured"] == pytest.approx(after - before, abs=1e-6)
    assert abs(after - before) > 1e-4
    assert np.allclose(found["logits"], logits, atol=1e-5)
    promised = look(view, PROMPT)["heads"]["promised"]
    assert found["off"]["promised"] == pytest.approx(promised[1] + promised[2], rel=1e-6)


def test_a_promise_is_the_slope_of_the_loss(view: View) -> None:
    """d loss / d t at t = 0, where the head's weights are (1 - t) A."""
    ids = ids_of(view)
    promised = look(view, PROMPT)["heads"]["promised"]
    model, small = view.model, 1e-2
    model.eval()
    slopes = []
    for layer, head in ((0, 0), (0, 1), (1, 0), (1, 1)):
        keep = np.ones((2, 1, 1), np.float32)
        losses = []
        for t in (-small, small):
            keep[head] = 1 - t
            with edit(model, {f"blocks.{layer}.attention.weights": lambda x, keep=keep: x * keep}):
                losses.append(float(cross_entropy(model(ids[:-1]), ids[1:]).item()))
        slopes.append((losses[1] - losses[0]) / (2 * small))
    assert np.allclose(slopes, promised, rtol=0.05, atol=1e-4)


def test_every_head_alone(view: View) -> None:
    measured = ablate(view, PROMPT)["measured"]
    assert measured[3] == pytest.approx(look(view, PROMPT, [(1, 1)])["off"]["measured"], abs=1e-7)


def test_a_look_leaves_the_model_as_it_was(view: View) -> None:
    view.model.train()
    first = next(iter(view.model.parameters()))
    first.grad = np.ones_like(first.data)
    before = {name: np.array(x) for name, x in view.model.state_dict().items()}
    look(view, PROMPT, [(0, 0)])
    look_at_head(view, PROMPT, 0, 0)
    loss_of(view, ids_of(view))
    assert view.model.training and all(module.training for module in view.model.modules())
    assert np.array_equal(first.grad, np.ones_like(first.data))
    assert all(np.array_equal(x, before[name]) for name, x in view.model.state_dict().items())
    first.grad = None


def test_prompts_at_the_limits(view: View) -> None:
    one = look(view, "t", [(0, 0)])
    assert one["loss"] is None and one["heads"]["gradients"] is None and one["off"]["measured"] is None
    long = look(view, PROMPT * 5)
    assert len(long["tokens"]) == view.model.config.context_length
    assert "the tokens before the last 24" in long["leftOut"][0]
    with pytest.raises(ConfigError, match="at least one token; got 0"):
        look(view, "")
    with pytest.raises(ConfigError, match=r"a head is LAYER.HEAD.*got 0.2"):
        look(view, PROMPT, [(0, 2)])
    with pytest.raises(ConfigError, match=r"got 2\.0"):
        look_at_head(view, PROMPT, 2, 0)


def test_a_look_at_19_tokens_is_small() -> None:
    """Of the lab's own GPT: at most 40 KB (its time is measured, not tested)."""
    with asking(tiny_beginning(embedding_dim=32, num_heads=4, context_length=64)) as ask:
        assert len(pack(ask.look(prompt=PROMPT))) <= 40_000
        assert len(pack(ask.backward(prompt=PROMPT))) <= 40_000
