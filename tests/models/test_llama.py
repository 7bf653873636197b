"""Llama and its relatives: what each logit may know, gradients, caches, every way to generate, folders, refusals."""

import dataclasses

import numpy as np
import pytest
from tiny_gpt import greedy, next_logits, some_ids

import tinygrad_llm
from tinygrad_llm import Generator, composed_ops, gradcheck, manual_seed, nn, no_grad
from tinygrad_llm.errors import ConfigError, FormatError, ShapeError, StateDictError
from tinygrad_llm.formats import read_json, read_safetensors, write_json, write_safetensors
from tinygrad_llm.generate import DraftModel, PromptLookup, beam_search, generate, generate_speculatively
from tinygrad_llm.generate.decoding_state import DecodingState
from tinygrad_llm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.optim import AdamW
from tinygrad_llm.study import memory
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.train import RunFolder

SCALING = {"factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context_length": 8}
TINY = LlamaConfig(
    vocab_size=13,
    context_length=12,
    embedding_dim=8,
    num_heads=2,
    num_layers=2,
    feed_forward_dim=6,
    dropout=0.4,
    rope_base=20.0,
)
GEMMA = {"norm_around_one": True, "scale_embeddings": True, "activation": "gelu_tanh", "tie_weights": True}
VARIANTS = {
    "llama": {},
    "grouped": {"num_kv_heads": 1, "rope_scaling": SCALING, "tie_weights": True},
    "biases": {"qkv_bias": True, "activation": "gelu"},
    "mistral": {"window": 3, "num_kv_heads": 1},
    "mixtral": {"num_experts": 3, "experts_per_token": 2},
    "switch": {"num_experts": 3, "experts_per_token": 1},
    "qwen3": {"qk_norm": True, "head_dim": 6, "num_kv_heads": 1},
    "gemma": GEMMA | {"num_kv_heads": 1},
}
each_variant = pytest.mark.parametrize("name", [*VARIANTS, "latent", "gpt latent", "gpt with experts"])


def tiny(name="llama", seed=0, dtype=np.float64, **changes):
    """A small model, with weights so large that its logits differ clearly."""
    manual_seed(seed)
    if name.startswith("gpt"):
        model = GPT(GPTConfig(13, 12, 8, 2, 2, **{"dropout": 0.4} | changes))
    else:
        model = Llama(dataclasses.replace(TINY, **VARIANTS.get(name, {}) | changes))
    p = model.config.dropout
    for block in model.blocks:
        if name == "latent":
            block.attention = nn.MultiHeadLatentAttention(8, 2, 3, p, rotary=nn.RotaryPositions(2, 20.0))
        elif name == "gpt latent":
            block.attention = nn.MultiHeadLatentAttention(8, 2, 3, p)
        elif name == "gpt with experts":
            block.feed_forward = nn.MixtureOfExperts(8, 3, 2, lambda: nn.FeedForward(8, 5))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data += Generator(parameter.size).normal(0.0, 0.5, parameter.shape)
    return model.to(dtype)


@each_variant
def test_every_gradient_of_the_whole_model(name):
    model = tiny(name, dropout=0.0)
    ids, targets = some_ids(5).reshape(1, 5), some_ids(5, seed=2).reshape(1, 5)
    parameters = dict(model.named_parameters())
    assert gradcheck(lambda: model.loss(ids, targets), parameters=parameters, elements=12).ok
    assert all(np.abs(parameter.grad).max() > 0 for parameter in _after_a_step(model, ids, targets))


def _after_a_step(model, ids, targets):
    model.zero_grad()
    model.loss(ids, targets).backward()
    used = [name for name, _ in model.named_parameters() if ".experts." not in name]  # an expert may have been idle
    return [parameter for name, parameter in model.named_parameters() if name in used]


@each_variant
def test_fused_ops_compute_the_definitions(name):
    model, ids, targets = tiny(name, dropout=0.0), some_ids(12).reshape(2, 6), some_ids(12, seed=2).reshape(2, 6)
    results = []
    for composed in (False, True):
        model.zero_grad()
        with composed_ops() if composed else no_change():
            loss = model.loss(ids, targets)
            loss.backward()
        results.append([loss.data, *(parameter.grad for parameter in model.parameters())])
    for fused, definition in zip(*results, strict=True):
        np.testing.assert_allclose(fused, definition, rtol=1e-9, atol=1e-12)


class no_change:
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


@each_variant
def test_a_logit_knows_the_past_and_not_the_future(name):
    model = tiny(name).eval()
    ids = some_ids(9)
    before = model(ids).data
    ids[4] = (ids[4] + 1) % 13
    changed = np.abs(model(ids).data - before).max(axis=-1) > 1e-9
    reach = 2 * (model.config.window - 1) if name == "mistral" else 9  # through two layers
    assert changed.tolist() == [4 <= i <= 4 + reach for i in range(9)]


def windowed():
    """Its cache has room for 2 + 16 + 8 tokens."""
    manual_seed(4)
    return Llama(LlamaConfig(13, 60, 16, 4, 2, num_kv_heads=2, window=3)).to(np.float64).eval()


def test_a_cache_of_the_last_tokens_gives_the_logits_of_reading_all():
    model = windowed()
    texts = [some_ids(length, seed=length) for length in (30, 41, 2)]  # the longest is longer than the cache
    for prompts in (texts, texts[:1]):
        reading, grown = DecodingState(model, prompts), [*prompts]
        for step in range(17):
            for row, text in zip(reading.logits()[:, -1], grown, strict=True):
                np.testing.assert_allclose(row, next_logits(model, text), rtol=0, atol=1e-12)
            tokens = some_ids(len(grown), seed=step)
            reading.append(tokens)
            grown = [np.append(text, token) for text, token in zip(grown, tokens, strict=True)]
        cache = model.new_cache()
        with no_grad():
            model.hidden(some_ids(60)[None], cache)
        assert cache.length == 60 and cache.nbytes == 2 * 2 * 26 * 2 * 4 * 8
        assert cache.nbytes == memory(model, 1, 60).kv_cache


def test_guesses_are_taken_back_from_a_cache_of_the_last_tokens():
    model, prompt = windowed(), some_ids(7)
    plain = generate(model, prompt, 50, use_cache=False)
    np.testing.assert_array_equal(generate(model, prompt, 50), plain)
    np.testing.assert_array_equal(generate(model, prompt, 50, look_ahead=False), plain)
    manual_seed(9)
    poor = Llama(LlamaConfig(13, 60, 8, 2, 1, window=2)).to(np.float64)
    for draft in (DraftModel(model, 4), DraftModel(poor, 6), DraftModel(poor, 40), PromptLookup(30, 1)):
        found = generate_speculatively(model, prompt, 50, draft)  # 40 and 30 are more than the cache can take back
        np.testing.assert_array_equal(found.ids, plain)


@each_variant
def test_texts_of_unequal_length_are_read_as_if_alone_within_the_context_and_past_it(name):
    model, texts = tiny(name), [some_ids(length, seed=length) for length in (3, 7, 1)]
    reading, generator = DecodingState(model, texts), Generator(5)
    for _ in range(9):
        for row, text in zip(reading.logits()[:, -1], texts, strict=True):
            np.testing.assert_allclose(row, next_logits(model, text), rtol=0, atol=1e-10)
        new = generator.randint(0, 13, (3,))
        texts = [np.append(text, token) for text, token in zip(texts, new, strict=True)]
        reading.append(new)


@each_variant
def test_every_way_to_generate_greedily_writes_the_same(name):
    model, prompt = tiny(name), some_ids(4)
    expected = greedy(model, prompt, 12)
    assert generate(model, prompt, 12).tolist() == expected
    assert generate(model, prompt, 12, use_cache=False).tolist() == expected
    for guesser in (PromptLookup(), DraftModel(tiny(name, seed=1))):
        assert generate_speculatively(model, prompt, 12, guesser).ids.tolist() == expected
    assert np.asarray(beam_search(model, prompt, 12, 1)[0].ids).tolist() == expected


def test_it_learns_a_rule():
    assert _trained({}).loss(*_rule(9)).item() < 0.05


def test_experts_learn_a_rule_and_share_the_work():
    model = _trained({"num_experts": 3, "balance": 0.1})
    assert model.eval().loss(*_rule(9)).item() < 0.05
    model.train().hidden(_rule(9)[0])
    for block in model.blocks:
        assert block.feed_forward.balance_loss().item() < 0.1 * 2.2  # 2 is even use, 3 the worst


def _rule(seed):
    ids = (Generator(seed).randint(0, 13, (16, 1)) + 3 * np.arange(11)) % 13
    return ids[:, :-1], ids[:, 1:]


def _trained(changes):
    manual_seed(0)
    model = Llama(dataclasses.replace(TINY, dropout=0.0, **changes))
    optimizer = AdamW(model.parameters(), 0.01)
    for step in range(100):
        optimizer.zero_grad()
        model.loss(*_rule(step)).backward()
        optimizer.step()
    return model


def test_the_loss_in_training_asks_experts_for_balance():
    model, ids = tiny("mixtral", dropout=0.0), some_ids(10).reshape(2, 5)
    plain = model.eval().loss(ids, ids).item()
    model.train()
    with no_grad():
        with_balance = model.loss(ids, ids).item()
        hidden = model.hidden(ids)
        asked = sum(block.feed_forward.balance_loss().item() for block in model.blocks)
    assert hidden.shape == (2, 5, 8) and asked > 0.01
    np.testing.assert_allclose(with_balance, plain + asked, rtol=1e-12)


def test_parameter_counts():
    with nn.init.no_initial_values():
        block = Llama(LlamaConfig(100, 10, 2048, 32, 1, num_kv_heads=8, feed_forward_dim=8192)).blocks[0]
        assert block.attention.num_parameters() == 2 * 2048 * 2048 + 2 * 2048 * 512
        assert block.feed_forward.num_parameters() == 3 * 2048 * 8192
        assert block.num_parameters() == 60_821_504  # times 16, with 128,256 rows of 2048: Llama 3.2's 1,235,814,400
    assert 16 * 60_821_504 + 2048 + 128_256 * 2048 == 1_235_814_400


# -- settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_kv_heads": 3}, "multiple of num_kv_heads"),
        ({"embedding_dim": 9}, "multiple of num_heads"),
        ({"head_dim": 3}, "must be even"),
        ({"activation": "relu"}, "activation must be one of silu, gelu, gelu_tanh"),
        ({"window": -1}, "window must be an integer of at least 1"),
        ({"window": 10**30, "num_layers": 0}, "num_layers must be"),
        ({"num_experts": 2, "experts_per_token": 3}, "at most num_experts"),
        ({"balance": -1.0}, "balance must be"),
        ({"rope_base": -5.0}, "base must be"),
        ({"rope_scaling": {"factor": 3}}, "scaling must have"),
        ({"qk_norm": "yes"}, "qk_norm must be true or false"),
        ({"dropout": 1.0}, "dropout must be a probability"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        Llama(dataclasses.replace(TINY, **changes))


def test_positions_reach_every_block_and_only_their_differences_count():
    model, ids = tiny().eval(), some_ids(6)
    logits = model(ids).data
    np.testing.assert_allclose(model(ids, positions=np.arange(5, 11)).data, logits, atol=1e-9)
    assert np.abs(model(ids, positions=2 * np.arange(6)).data - logits).max() > 1e-3


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(ShapeError, match="Llama: ids must be"):
        tiny()(some_ids(13))


# -- folders


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_folder_holds_it(tmp_path, name):
    model = tiny(name, dtype=np.float32)
    tokenizer = CharTokenizer.train("abcdefghijklm")
    with RunFolder.create(tmp_path / "run") as folder:
        write_safetensors(tmp_path / "run" / "model.safetensors", model.state_dict())
        folder.begin({"model_type": "llama", "model": model.config.to_dict()}, tokenizer)
    read, _ = tinygrad_llm.load(tmp_path / "run")
    assert read.config == model.config
    assert np.array_equal(read(some_ids(9)).data, model.eval()(some_ids(9)).data)


SAVED_AS = {
    "llama": "llama",
    "grouped": "llama",
    "biases": "qwen2",
    "mistral": "mistral",
    "mixtral": "mixtral",
    "qwen3": "qwen3",
    "gemma": "gemma",
}


@pytest.mark.parametrize("name", SAVED_AS)
def test_there_and_back_to_the_bit(tmp_path, name):
    model = tiny(name, dtype=np.float32)
    model.save_pretrained(tmp_path)
    assert read_json(tmp_path / "config.json")["model_type"] == SAVED_AS[name]
    read = Llama.from_pretrained(tmp_path)
    assert np.array_equal(read(some_ids(9)).data, model.eval()(some_ids(9)).data)
    assert read.config.dropout == 0.4 and Llama.from_pretrained(tmp_path, dropout=0.0).config.dropout == 0.0
    read.save_pretrained(tmp_path)
    assert Llama.from_pretrained(tmp_path).config == read.config


def test_an_expert_s_gate_is_w1_there_and_its_up_w3(tmp_path):
    model = tiny("mixtral", dtype=np.float32)
    model.save_pretrained(tmp_path)
    theirs = read_safetensors(tmp_path / "model.safetensors")
    for ours, name in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
        expert = theirs[f"model.layers.1.block_sparse_moe.experts.2.{name}.weight"]
        assert np.array_equal(expert, getattr(model.blocks[1].feed_forward.experts[2], ours).weight.data)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_experts": 3, "experts_per_token": 1},
        {"window": 3, "qk_norm": True},
        {"scale_embeddings": True},
        {"output_bias": True},
        {"num_experts": 2, "qkv_bias": True, "output_bias": True},
    ],
    ids=str,
)
def test_a_combination_that_no_hugging_face_model_has_is_refused_by_name(tmp_path, changes):
    with pytest.raises(ConfigError, match="no Hugging Face model has .*" + next(iter(changes))):
        tiny(**changes).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_other_layers_have_no_place(tmp_path):
    with pytest.raises(StateDictError):
        tiny("latent").save_pretrained(tmp_path)


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gemma2"}, "model_type must be one of llama, qwen2, qwen3, gemma, mistral, mixtral"),
        ({"model_type": ["llama"]}, "model_type must be one of"),
        ({"mlp_bias": True}, "mlp_bias must be unset"),
        ({"quantization_config": {"bits": 4}}, "quantization_config must be unset"),
        ({"use_sliding_window": True}, "use_sliding_window must be unset"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types must be"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor must be unset"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters must have rope_type 'default' or 'llama3'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling must have rope_type"),
        ({"rope_scaling": LLAMA3 | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor, .* is missing"),
        ({"rope_scaling": LLAMA3 | {"factor": "x"}}, "does not fit a Llama"),
        ({"rope_scaling": 3}, "must be an object"),
        ({"hidden_act": "relu"}, "hidden_act must be one of silu"),
        ({"hidden_size": None}, "hidden_size must be an integer"),
        ({"hidden_size": 9}, "must be"),
        ({"num_attention_heads": 10**30}, "q_proj.weight' must be"),
        ({"num_key_value_heads": 3}, "k_proj.weight' must be"),
        ({"head_dim": 6}, "q_proj"),
        ({"attention_bias": "no"}, "attention_bias must be true or false"),
        ({"attention_bias": True}, "q_proj.bias"),
        ({"rms_norm_eps": 0}, "norm_eps"),
        ({"model_type": "mistral", "num_key_value_heads": "leave out"}, "num_key_value_heads must be"),
        ({"model_type": "qwen3", "head_dim": "leave out"}, "head_dim must be"),
        ({"model_type": "qwen3"}, "q_norm"),
        ({"model_type": "mixtral", "num_experts_per_tok": 1}, "num_experts_per_tok must be at least 2"),
        ({"model_type": "mixtral", "router_jitter_noise": 0.1}, "router_jitter_noise must be unset"),
        ({"model_type": "gemma"}, "gelu|activation"),
        ({"num_hidden_layers": 3}, "model.layers.2"),
        ({"num_hidden_layers": 1}, "also holds 9 more"),
    ],
    ids=str,
)
def test_what_is_not_computed_is_refused_by_name(tmp_path, changes, message):
    tiny(dtype=np.float32).save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json") | changes
    write_json(tmp_path / "config.json", {name: value for name, value in config.items() if value != "leave out"})
    with pytest.raises(FormatError, match=message) as caught:
        Llama.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_older_files_say_the_same_with_other_names(tmp_path):
    model = tiny("grouped", dtype=np.float32)
    model.save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json")
    del config["rope_parameters"], config["head_dim"]
    config["rope_scaling"] |= {"type": "llama3"}
    del config["rope_scaling"]["rope_type"], config["rope_scaling"]["rope_theta"]
    write_json(tmp_path / "config.json", config)
    state = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}
    weights = read_safetensors(tmp_path / "model.safetensors", copy=True)
    write_safetensors(tmp_path / "model.safetensors", {**weights, **state})
    assert Llama.from_pretrained(tmp_path).config == dataclasses.replace(model.config)
