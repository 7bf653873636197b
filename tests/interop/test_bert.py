"""BERT in Hugging Face's layout: what is written, what is read back, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_weights import with_random_weights

from tinygrad_llm import manual_seed
from tinygrad_llm.errors import CheckpointError, FormatError, StateDictError
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.models import Bert, BertConfig
from tinygrad_llm.nn import Linear

SIZES = {
    "vocab_size": 11,
    "context_length": 6,
    "embedding_dim": 8,
    "num_heads": 2,
    "num_layers": 2,
    "feed_forward_dim": 12,
}
IDS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])


def some_bert(**changes: Any) -> Any:
    manual_seed(5)
    return with_random_weights(Bert(BertConfig(**SIZES, **changes)).eval(), 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    some_bert().save_pretrained(tmp_path)
    return tmp_path


def change(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({name: value for name, value in config.items() if value != "remove"}))


def rewrite(folder: Path, edit: Any) -> None:
    tensors = {name: array.copy() for name, array in read_safetensors(folder / "model.safetensors").items()}
    edit(tensors)
    write_safetensors(folder / "model.safetensors", tensors)


@pytest.mark.parametrize(
    ("head", "pooler", "model", "named"),
    [
        (True, False, "BertForMaskedLM", "cls.predictions.transform.LayerNorm.weight"),
        (True, True, "BertForPreTraining", "cls.seq_relationship.weight"),
        (False, True, "BertModel", "pooler.dense.weight"),
        (False, False, "BertModel", "encoder.layer.1.attention.output.LayerNorm.bias"),
    ],
)
def test_round_trip_to_the_bit(head: Any, pooler: Any, model: Any, named: Any, tmp_path: Path) -> None:
    written = some_bert(masked_word_head=head, pooler=pooler)
    written.save_pretrained(tmp_path)
    read = Bert.from_pretrained(tmp_path)
    assert read.config == written.config
    np.testing.assert_array_equal(read.hidden(IDS).data, written.hidden(IDS).data)
    if head:
        np.testing.assert_array_equal(read(IDS).data, written(IDS).data)
    if pooler:
        hidden = written.hidden(IDS)
        np.testing.assert_array_equal(read.pooled(hidden).data, written.pooled(hidden).data)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [model]
    assert named in read_safetensors(tmp_path / "model.safetensors")


def test_names_of_a_layer_are_transformers_own(folder: Path) -> None:
    names = {n for n in read_safetensors(folder / "model.safetensors") if n.startswith("bert.encoder.layer.0.")}
    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    parts += ["attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense"]
    parts += ["output.LayerNorm"]
    assert names == {f"bert.encoder.layer.0.{part}.{kind}" for part in parts for kind in ("weight", "bias")}


def test_float64_stays_and_dropout_may_be_chosen(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({n: a.astype(np.float64) for n, a in tensors.items()}))
    model = Bert.from_pretrained(folder, dropout=0.3)
    assert model.token_embedding.weight.dtype == np.float64 and model.config.dropout == 0.3


def test_reads_the_additional_arrays_of_older_versions(folder: Path) -> None:
    before = Bert.from_pretrained(folder)(IDS).data

    def older(tensors: Any) -> None:
        tensors["bert.embeddings.position_ids"] = np.arange(6)[None]
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
        for name in [name for name in tensors if "LayerNorm" in name]:
            tensors[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = (
                tensors.pop(name)
            )

    rewrite(folder, older)
    np.testing.assert_array_equal(Bert.from_pretrained(folder)(IDS).data, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "roberta"}, "model_type must be 'bert'; got 'roberta'"),
        ({"hidden_act": "relu"}, "hidden_act must be one of gelu"),
        ({"hidden_act": None}, "hidden_act must be one of gelu"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ({"is_decoder": True}, "is_decoder must be unset or false"),
        ({"add_cross_attention": True}, "add_cross_attention must be unset"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings must be true"),
        ({"attention_probs_dropout_prob": 0.2}, "must be equal, because a Bert has one dropout"),
        ({"hidden_size": -8}, "hidden_size must be an integer of at least 1; got -8"),
        ({"num_hidden_layers": 3}, "must hold 'encoder.layer.2.attention.self.query.weight'"),
        ({"num_hidden_layers": 1}, "of a BERT of 1 layers and nothing else; also holds 16 more"),
        ({"num_hidden_layers": 10**12}, "must hold 'encoder.layer.2"),
        ({"vocab_size": 12}, r"'embeddings.word_embeddings.weight' must be \(12, 8\)"),
        ({"num_attention_heads": 3}, "the config does not fit a Bert"),
        ({"layer_norm_eps": "small"}, "the config does not fit a Bert: BertConfig: norm_eps"),
    ],
)
def test_unsupported_options_are_refused_by_name(settings: Any, message: str, folder: Path) -> None:
    change(folder, **settings)
    with pytest.raises(FormatError, match=message):
        Bert.from_pretrained(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("bert.encoder.layer.1.output.dense.bias"), "must hold 'encoder.layer.1.output.dense.bias'"),
        (lambda t: t.update({"classifier.weight": np.zeros((2, 8), np.float32)}), "also holds 1 more: 'classifier.w"),
        (
            lambda t: t.update({"cls.predictions.decoder.weight": np.zeros((11, 8), np.float32)}),
            "an output head with its own weights is not supported",
        ),
        (
            lambda t: t.update({"embeddings.LayerNorm.bias": np.zeros(8, np.float32)}),
            "'embeddings.LayerNorm.bias' twice",
        ),
    ],
)
def test_refuses_weights_that_do_not_fit(edit: Any, message: str, folder: Path) -> None:
    rewrite(folder, edit)
    with pytest.raises(FormatError, match=message):
        Bert.from_pretrained(folder)


def test_overwrites_only_a_bert_and_saves_only_its_own_weights(folder: Path, tmp_path: Path) -> None:
    some_bert().save_pretrained(folder)
    change(folder, model_type="gpt2")
    with pytest.raises(CheckpointError, match="must be the config of a bert"):
        some_bert().save_pretrained(folder)
    model = some_bert()
    model.head = Linear(8, 2)
    with pytest.raises(StateDictError, match=r"head\.bias must have the shape .* got"):
        model.save_pretrained(tmp_path / "new")


def test_transformers_gives_the_same_logits(tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("safetensors")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=37,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
        initializer_range=0.3,
    )
    theirs = transformers.BertForMaskedLM(config).to(torch.float64).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ids, segments = torch.randint(0, 37, (2, 9)), torch.randint(0, 2, (2, 9))
    seen = torch.arange(9) < torch.tensor([[9], [5]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, token_type_ids=segments, attention_mask=seen.long()).logits.numpy()
    ours = Bert.from_pretrained(tmp_path / "theirs")
    found = ours(ids.numpy(), segments.numpy(), seen.numpy()[:, None, None, :]).data
    np.testing.assert_allclose(found[seen.numpy()], expected[seen.numpy()], rtol=0, atol=1e-10)
    ours.save_pretrained(tmp_path / "ours")
    _, report = transformers.BertForMaskedLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
