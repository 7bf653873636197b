"""The classifier: what it reads, what it trains, and that padding is nothing to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.data import ClassificationDataset, DataLoader, LabelledText
from tinygrad_llm.errors import ConfigError, DataError, IdRangeError, ShapeError
from tinygrad_llm.finetune import (
    Classifier,
    classification_loss,
    classify,
    evaluate_classifier,
)
from tinygrad_llm.models import GPT, Bert, BertConfig, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.text import CharTokenizer, WordPieceTokenizer
from tinygrad_llm.train import RunFolder, Trainer, TrainingSettings, load

RECORD = ARCHITECTURES["classifier"]

SMALL = GPTConfig(vocab_size=30, context_length=16, embedding_dim=16, num_heads=2, num_layers=2, dropout=0.0)


def classifier(seed: int = 1, **options: Any) -> Classifier | None:
    manual_seed(seed)
    return Classifier(GPT(SMALL), ["ham", "spam"], **options)


def test_the_books_124m_classifier() -> None:
    with no_initial_values():
        model = Classifier(GPT(GPTConfig.preset("gpt2-small", qkv_bias=True)), ["ham", "spam"], trainable="all")
    assert model.num_parameters(trainable_only=True) == 124_441_346


def test_what_is_trained() -> None:
    def trained(part: str) -> set[str]:
        names = [name for name, p in classifier(trainable=part).named_parameters() if p.requires_grad]
        return {name.removeprefix("body.").rsplit(".", 1)[0] for name in names}

    assert trained("head") == {"head"}
    block = {f"blocks.1.attention.{part}" for part in ("query", "key", "value", "output")}
    block |= {"blocks.1.feed_forward.up", "blocks.1.feed_forward.down", "blocks.1.norm1", "blocks.1.norm2"}
    assert trained("last_block") == block | {"head", "final_norm"}
    assert trained("all") > trained("last_block") | {"token_embedding", "position_embedding"}


def test_the_head_is_drawn_as_the_books() -> None:
    manual_seed(123)
    expected = Classifier(GPT(SMALL), "ab").body.head.weight.data
    manual_seed(123)
    gpt = GPT(SMALL)
    np.testing.assert_array_equal(Classifier(gpt, "ab").body.head.weight.data, expected)
    assert gpt.head.weight.shape == (2, 16)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pooling", ["last", "first", "mean"])
def test_padding_changes_nothing(pooling: str, causal: bool) -> None:
    model = classifier(pooling=pooling, causal=causal).to(np.float64)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 30, length) for length in (3, 7, 1, 12)]
    model.body.head.bias.data -= np.mean([model(row[None]).data[0] for row in rows], axis=0)
    alone = np.concatenate([model(row[None]).data for row in rows])
    assert set(alone.argmax(axis=1)) == {0, 1}  # no class for all, which any padding would leave alone
    for width, pad_id in ((12, 0), (13, 5), (16, 29)):
        ids = np.full((4, width), pad_id)
        for line, row in zip(ids, rows, strict=True):
            line[: len(row)] = row
        logits = model(ids, [len(row) for row in rows]).data
        np.testing.assert_allclose(logits, alone, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(logits.argmax(axis=1), alone.argmax(axis=1))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pooling", ["last", "first", "mean"])
def test_a_prediction_does_not_depend_on_the_other_texts_of_its_batch(pooling: str, causal: bool) -> None:
    model, tokenizer = classifier(pooling=pooling, causal=causal).to(np.float64), CharTokenizer.train("abc")
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("abc"), length)) for length in rng.integers(1, 17, 20)]
    alone = classify(model, tokenizer, texts, batch_size=1)
    for batch_size, pad_id in ((3, 0), (20, 0), (20, 7)):
        together = classify(model, tokenizer, texts, pad_id=pad_id, batch_size=batch_size)
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(together.argmax(axis=1), alone.argmax(axis=1))


def test_the_books_last_position_reads_padding() -> None:
    ids, lengths = np.array([[3, 4, 5, 29]]), [3]
    as_book, ours = classifier(pooling="padded_last"), classifier(pooling="last")
    np.testing.assert_array_equal(as_book(ids, lengths).data, ours(ids).data)
    assert not np.allclose(as_book(ids, lengths).data, ours(ids, lengths).data)


def test_what_each_pooling_sees() -> None:
    """Change one token of four: only a pooling that sees it notices."""
    ids = np.array([[3, 4, 5, 6]])
    changed = {place: np.where(np.arange(4) == place, 20, ids) for place in (1, 3)}
    for pooling, causal, place, notices in [
        ("first", True, 1, False),
        ("first", False, 1, True),
        ("first", False, 3, True),
        ("last", True, 1, True),
        ("mean", True, 3, True),
    ]:
        model = classifier(pooling=pooling, causal=causal)
        assert np.array_equal(model(ids).data, model(changed[place]).data) is not notices


def test_gradients_of_the_pooled_head() -> None:
    model = classifier(pooling="mean", trainable="all").to(np.float64)
    ids, classes, lengths = np.array([[1, 2, 3, 0], [4, 5, 6, 7]]), [0, 1], [3, 4]
    model.loss(ids, classes, lengths).backward()
    weight = model.body.blocks[0].attention.value.weight
    for place in ((0, 0), (5, 9)):
        sides = []
        for step in (1e-5, -1e-5):
            weight.data[place] += step
            sides.append(model.loss(ids, classes, lengths).item())
            weight.data[place] -= step
        assert weight.grad[place] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6, abs=1e-9)


def spam_or_ham(count: int, seed: int) -> list[LabelledText]:
    """Texts of a, b, c; those with a z somewhere are spam."""
    rng = np.random.default_rng(seed)
    texts = []
    for i in range(count):
        letters = rng.choice(list("abc"), rng.integers(3, 12))
        if i % 2:
            letters[rng.integers(len(letters))] = "z"
        texts.append(LabelledText("".join(letters), ["ham", "spam"][i % 2]))
    return texts


def test_it_learns_saves_and_loads(tmp_path: Path) -> None:
    tokenizer = CharTokenizer.train("abcz")
    config = GPTConfig(tokenizer.vocab_size, 16, 16, 2, 1, 0.0)
    manual_seed(3)
    model = Classifier(GPT(config), ["ham", "spam"], trainable="all")
    dataset = ClassificationDataset(spam_or_ham(200, 0), tokenizer, ["ham", "spam"], pad_id=0)
    held_out = ClassificationDataset(spam_or_ham(60, 1), tokenizer, ["ham", "spam"], 16, pad_id=0)
    batches = list(DataLoader(held_out, 16))
    settings = TrainingSettings(steps=60, batch_size=16, learning_rate=1e-2, warmup_steps=5, eval_interval=30)
    with RunFolder.create(tmp_path / "run") as folder:
        folder.begin({"model_type": "classifier", "model": model.config.to_dict()}, tokenizer)
        trainer = Trainer(
            model, DataLoader(dataset, 16, shuffle=True), settings, batches, classification_loss, [folder]
        )
        trainer.train()
    report = evaluate_classifier(model, batches)
    assert report.accuracy > 0.95
    assert report.count == 60
    assert report.loss == pytest.approx(trainer.val_loss, rel=1e-5)
    loaded, _ = load(tmp_path / "run")
    texts = ["abcabc", "abzc", "c"]
    np.testing.assert_array_equal(
        classify(loaded, tokenizer, texts, pad_id=0), classify(model, tokenizer, texts, pad_id=0)
    )


def test_classify_keeps_the_order_and_cuts() -> None:
    model, tokenizer = classifier(), CharTokenizer.train("abc")
    texts = ["abc" * 20, "a", "cab", "bb"]
    together = classify(model, tokenizer, texts, batch_size=3)
    assert together.shape == (4, 2)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-6)
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_allclose(row, classify(model, tokenizer, [text[:16]], pad_id=0)[0], rtol=1e-5)
    with pytest.raises(DataError, match="'' has none"):
        classify(model, tokenizer, ["a", ""])


def test_errors() -> None:
    for options, says in [({"pooling": "max"}, "pooling"), ({"trainable": "none"}, "trainable")]:
        with pytest.raises(ConfigError, match=says):
            classifier(**options)
    for labels in ([], ["one"], ["a", "a"]):
        with pytest.raises(ConfigError, match="two different names"):
            Classifier(GPT(SMALL), labels)
    model = classifier()
    with pytest.raises(ShapeError, match=r"\(B, T\)"):
        model([1, 2])
    with pytest.raises(ShapeError, match="lengths must be"):
        model([[1, 2]], [1, 2])
    for length in (0, 3):
        with pytest.raises(IdRangeError, match=r"lengths must be in \[1, 2\]"):
            model([[1, 2]], [length])
    with pytest.raises(DataError, match="at least one batch"):
        evaluate_classifier(model, [])
    with pytest.raises(ConfigError, match="needs body"):
        RECORD.config_from({"labels": ["a", "b"]})
    assert RECORD.config_from(RECORD.settings_of(model)) == model.config


def test_no_tensor_is_needed_for_targets() -> None:
    model = classifier()
    assert isinstance(model.loss([[1, 2]], [0]), Tensor)


# -- on a BERT


def bert_classifier(pooler: bool = True, **changes: Any) -> Classifier | None:
    manual_seed(4)
    config = BertConfig(30, 16, 16, 2, 2, dropout=0.0, pooler=pooler)
    return Classifier(Bert(config), ["ham", "spam"], **changes).eval()


@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
def test_a_bert_classifies_texts_of_a_batch_as_each_alone(pooling: str) -> None:
    model = bert_classifier(pooling=pooling).to(np.float64)
    ids, lengths = np.array([[3, 4, 5, 6], [7, 8, 0, 9]]), [4, 2]
    alone = np.concatenate([model(ids[row : row + 1, :length]).data for row, length in enumerate(lengths)])
    np.testing.assert_allclose(model(ids, lengths).data, alone, rtol=0, atol=1e-13)


def test_a_bert_reads_its_first_token_through_the_pooler_where_it_has_one() -> None:
    ids = np.array([[3, 4, 5, 6]])
    for pooler in (True, False):
        model = bert_classifier(pooler)
        hidden = model.body.hidden(ids)
        read = model.body.pooled(hidden) if pooler else hidden[:, 0]
        np.testing.assert_array_equal(model(ids).data, model.body.head(read).data)
        assert model.config.pooling == "first" and not model.config.causal
        assert model(ids).data[0, 0] != model(np.array([[3, 4, 5, 7]])).data[0, 0]  # it has seen the end


def test_what_of_a_bert_is_trainable() -> None:
    model = bert_classifier()
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in trainable} == {"blocks", "pooler", "head"}
    assert all(not name.startswith("body.blocks.0") for name in trainable)
    assert not any("next_sentence" in name or "transform" in name for name, _ in model.named_parameters())


def test_a_bert_classifier_comes_back_from_its_config(tmp_path: Path) -> None:
    model = bert_classifier(pooling="mean")
    config = RECORD.config_from(json.loads(json.dumps(RECORD.settings_of(model))))
    assert config == model.config
    again = RECORD.begin(config).eval()
    again.load_state_dict(model.state_dict())
    ids = np.array([[3, 4, 5, 6]])
    np.testing.assert_array_equal(again(ids).data, model(ids).data)


def test_a_bert_is_never_causal_and_no_other_body_is_known() -> None:
    with pytest.raises(ConfigError, match="attend to the whole text"):
        bert_classifier(causal=True)
    with pytest.raises(ConfigError, match="needs body, labels, pooling, causal and body_type"):
        RECORD.config_from({**RECORD.settings_of(bert_classifier()), "body": None})
    with pytest.raises(ConfigError, match=r"the body must be one of gpt, .*bert; got 'encoder-decoder'"):
        RECORD.config_from({**RECORD.settings_of(bert_classifier()), "body_type": "encoder-decoder"})


def test_a_llama_is_a_body_like_a_gpt() -> None:
    manual_seed(1)
    config = LlamaConfig(30, 16, 16, 2, 2, num_kv_heads=1, window=4)
    model = Classifier(Llama(config), ["ham", "spam"])
    assert model.config == RECORD.config_from(json.loads(json.dumps(RECORD.settings_of(model))))
    trained = {name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"blocks", "final_norm", "head"}
    ids = np.array([[3, 4, 5, 6, 0, 0]])
    np.testing.assert_allclose(model(ids, [4]).data, model(ids[:, :4]).data, rtol=1e-5, atol=1e-7)
    with pytest.raises(ConfigError, match="covers past tokens only"):
        Classifier(Llama(config), ["ham", "spam"], causal=False)


def test_texts_are_read_in_the_frame_that_their_tokenizer_has() -> None:
    tokenizer = WordPieceTokenizer(["[UNK]", "[CLS]", "[SEP]", "a", "b"])
    texts = [LabelledText("a b", "x"), LabelledText("b a a", "y")]
    dataset = ClassificationDataset(texts, tokenizer, ["x", "y"], 4, 0)
    np.testing.assert_array_equal(dataset.ids, [[1, 3, 4, 2], [1, 4, 3, 2]])
    np.testing.assert_array_equal(dataset.lengths, [4, 4])
    with pytest.raises(DataError, match="at least one token"):
        ClassificationDataset([LabelledText(" ", "x")], tokenizer, ["x", "y"])
