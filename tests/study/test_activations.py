import numpy as np
import pytest
from tiny_gpt import some_ids, tiny

from tinygrad_llm import manual_seed, no_grad, study
from tinygrad_llm.errors import ConfigError, IdRangeError, ShapeError
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.nn import FeedForward, LayerNorm, MultiHeadAttention, RotaryPositions, TransformerBlock
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.tensor import Tensor

WEIGHTS = "blocks.1.attention.weights"


@pytest.fixture
def model() -> GPT:
    return tiny().eval()


@pytest.fixture
def ids() -> np.ndarray:
    return some_ids(18).reshape(2, 9)


def plain(model: GPT, ids: np.ndarray) -> np.ndarray:
    with no_grad():
        return model(ids).data


def test_caching_does_not_change_the_output(model: GPT, ids: np.ndarray) -> None:
    seen = study.cache(model, ids)
    np.testing.assert_allclose(seen.output, plain(model, ids), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(seen["head"], seen.output)


def test_dropout_draws_the_same_numbers(ids: np.ndarray) -> None:
    model = tiny().train()
    manual_seed(3)
    expected = plain(model, ids)
    manual_seed(3)
    np.testing.assert_allclose(study.cache(model, ids).output, expected, rtol=1e-12, atol=1e-14)


def test_names_and_shapes(model: GPT, ids: np.ndarray) -> None:
    seen = study.cache(model, ids)
    shapes = {
        "token_embedding": (2, 9, 8),
        "blocks.0": (2, 9, 8),
        "blocks.0.attention": (2, 9, 8),
        WEIGHTS: (2, 2, 9, 9),
        "blocks.0.feed_forward.activation": (2, 9, 32),
        "final_norm": (2, 9, 8),
        "head": (2, 9, 13),
    }
    assert {name: seen[name].shape for name in shapes} == shapes
    np.testing.assert_allclose(seen[WEIGHTS].sum(-1), 1)
    assert not np.triu(seen[WEIGHTS], 1).any()
    assert {name.partition("@")[0] for name in seen} <= set(study.activation_names(model))


def test_a_container_that_never_runs_has_no_name(model: GPT, ids: np.ndarray) -> None:
    names = study.activation_names(model)
    assert "blocks" not in names and {"blocks.0", "blocks.1", "head"} <= set(names)
    never = {f"blocks.{i}.attention.dropout" for i in range(2)}  # its p is read by the attention, which drops weights
    assert set(names) - set(study.cache(model, ids)) == never
    with pytest.raises(ConfigError, match=r"similar names: .*blocks\.0"), study.edit(model, {"blocks": study.zero()}):
        pass


def test_the_residual_stream_is_the_sum_of_the_outputs_of_its_parts(model: GPT, ids: np.ndarray) -> None:
    seen = study.cache(model, ids)
    added = seen["blocks.1.attention"] + seen["blocks.1.feed_forward"]
    np.testing.assert_allclose(seen["blocks.0"] + added, seen["blocks.1"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [WEIGHTS, "token_embedding", "blocks.0", "blocks.0.feed_forward.activation"])
def test_gradients_are_the_finite_differences(model: GPT, ids: np.ndarray, name: str) -> None:
    seen = study.cache(model, ids, targets=ids)
    direction = np.random.RandomState(0).randn(*seen[name].shape)
    losses = []
    for step in (1e-5, -1e-5):
        moved = seen[name] + step * direction
        with no_grad(), study.edit(model, {name: study.patch(moved)}):
            losses.append(cross_entropy(model(ids), ids).item())
    expected = (losses[0] - losses[1]) / 2e-5
    assert (seen.gradients[name] * direction).sum() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_the_model_is_left_as_it_was(model: GPT, ids: np.ndarray) -> None:
    model.head.weight.requires_grad = False
    model.final_norm.bias.grad = kept = np.ones(8)
    seen = study.cache(model, ids, targets=ids)
    assert seen.loss == pytest.approx(cross_entropy(model(ids), ids).item())
    assert not model.head.weight.requires_grad and model.final_norm.bias.grad is kept
    assert model.token_embedding.weight.grad is None
    with pytest.raises(ZeroDivisionError), study.edit(model, {"head": lambda x: 1 // 0}):
        model(ids)
    assert not any("forward" in vars(module) or module._forward_hooks for module in model.modules())


def test_zero_removes_one_head(model: GPT, ids: np.ndarray) -> None:
    attention = model.blocks[1].attention
    seen = study.cache(model, ids)
    with no_grad(), study.edit(model, {WEIGHTS: study.zero(heads=1)}):
        ablated = study.cache(model, ids)
    assert not ablated[WEIGHTS][:, 1].any()
    np.testing.assert_array_equal(ablated[WEIGHTS][:, 0], seen[WEIGHTS][:, 0])
    weight = attention.output.weight.data.copy()
    attention.output.weight.data[:, 4:] = 0  # the columns that read head 1
    np.testing.assert_allclose(plain(model, ids), ablated.output, rtol=1e-12, atol=1e-14)
    attention.output.weight.data[...] = weight


def test_patching_the_whole_stream_gives_the_output_of_the_other_run(model: GPT, ids: np.ndarray) -> None:
    other = study.cache(model, ids[::-1])
    with study.edit(model, {"blocks.0": study.patch(other["blocks.0"])}):
        np.testing.assert_allclose(plain(model, ids), other.output, rtol=1e-12)


def test_patching_one_position_does_not_change_earlier_ones(model: GPT, ids: np.ndarray) -> None:
    other = study.cache(model, ids[::-1])
    with study.edit(model, {"blocks.0": study.patch(other["blocks.0"], positions=4)}):
        changed = plain(model, ids)
    before = plain(model, ids)
    np.testing.assert_allclose(changed[:, :4], before[:, :4], rtol=1e-12, atol=1e-14)
    assert (np.abs(changed - before)[:, 4:].max(-1) > 1e-6).all()


def test_mean_ablation(model: GPT, ids: np.ndarray) -> None:
    seen = study.cache(model, ids)
    changes = {"blocks.0.feed_forward": study.mean(), WEIGHTS: study.mean(axis=0)}
    with study.edit(model, changes):
        made = study.cache(model, ids)
    expected = np.broadcast_to(seen["blocks.0.feed_forward"].mean((0, 1)), (2, 9, 8))
    np.testing.assert_allclose(made["blocks.0.feed_forward"], expected)
    np.testing.assert_allclose(made[WEIGHTS][0], made[WEIGHTS][1])
    np.testing.assert_allclose(made[WEIGHTS].sum(-1), 1)


def test_gradients_flow_through_an_edit(model: GPT, ids: np.ndarray) -> None:
    with study.edit(model, {"blocks.0": lambda x: x * 0.0, "blocks.1": lambda x: 2 * x}):
        cross_entropy(model(ids), ids).backward()
    assert not model.token_embedding.weight.grad.any()
    assert model.blocks[1].attention.query.weight.grad is not None
    given = Tensor(np.zeros(8), requires_grad=True)
    with study.edit(model, {"blocks.0": study.patch(given)}):
        cross_entropy(model(ids), ids).backward()
    assert given.grad.any()


def test_an_edited_head_reaches_the_fused_loss(model: GPT, ids: np.ndarray) -> None:
    with study.edit(model, {"head": study.zero()}):
        assert model.loss(ids, ids).item() == pytest.approx(np.log(13))


def test_a_layer_used_twice_has_two_names(ids: np.ndarray) -> None:
    model = tiny().eval()
    setattr(model.blocks, "1", model.blocks[0])
    seen = study.cache(model, ids)
    assert {"blocks.0", "blocks.0@2", "blocks.0.attention.weights@2"} <= set(seen)
    assert np.abs(seen["blocks.0"] - seen["blocks.0@2"]).max() > 1e-3


def test_other_blocks_and_several_outputs() -> None:
    attention = MultiHeadAttention(8, 2, causal=True, rotary=RotaryPositions(4, 16))
    block = TransformerBlock(attention, FeedForward(8), lambda: LayerNorm(8), cross_attention=MultiHeadAttention(8, 2))
    x, memory = np.ones((1, 5, 8), np.float32), np.ones((1, 3, 8), np.float32)
    seen = study.cache(block, x, memory)
    assert seen["attention.weights"].shape == (1, 2, 5, 5)
    assert seen["cross_attention.weights"].shape == (1, 2, 5, 3)
    assert seen["attention.rotary.0"].shape == (1, 2, 5, 4)
    with study.edit(block, {"attention.rotary.0": study.zero()}):
        np.testing.assert_allclose(study.cache(block, x, memory)["attention.weights"][0, 0, 4], 0.2)


def test_unknown_names_list_similar_ones(model: GPT, ids: np.ndarray) -> None:
    misspelt = study.edit(model, {"blocks.1.atention.weights": study.zero()})
    with pytest.raises(ConfigError, match=r"similar names: .*blocks\.1\.attention\.weights"), misspelt:
        pass
    with pytest.raises(ConfigError, match=r"final_norm"):
        study.cache(model, ids)["final_nrom"]


def test_changes_that_do_not_fit(model: GPT, ids: np.ndarray) -> None:
    for change, error, words in (
        (lambda x: x[0], ShapeError, "keep its shape"),
        (study.patch(np.ones(5)), ShapeError, "broadcast"),
        (study.zero(positions=99), IdRangeError, "within its size 9"),
    ):
        with pytest.raises(error, match=words), study.edit(model, {"blocks.0": change}):
            model(ids)
    with pytest.raises(ConfigError, match="by a function"), study.edit(model, {"blocks.0": np.ones(8)}):
        pass
