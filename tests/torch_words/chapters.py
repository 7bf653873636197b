"""The book's chapters in the book's vocabulary: every function takes the torch module, and prints what readers see.

What PyTorch 2.13 prints for each is in chapters.json, which `python tests/torch_words/chapters.py FOLDER` writes again
where PyTorch is installed; FOLDER holds the texts.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

PRINTED = Path(__file__).with_name("chapters.json")
INPUTS = [[0.43, 0.15, 0.89], [0.55, 0.87, 0.66], [0.57, 0.85, 0.64], [0.22, 0.58, 0.33], [0.77, 0.25, 0.10]]
INPUTS += [[0.05, 0.80, 0.55]]
SMALL = {"vocab_size": 60, "context_length": 16, "emb_dim": 24, "n_heads": 4, "n_layers": 2, "drop_rate": 0.1}
SMALL |= {"qkv_bias": False}


# -- appendix A


def appendix_a(torch: Any, folder: Path) -> None:
    from_rows = torch.tensor([[1, 2, 3], [4, 5, 6]])
    print(from_rows.dtype, torch.tensor([1.0, 2.0]).dtype, from_rows.to(torch.float32).dtype)
    print(from_rows.shape, from_rows.reshape(3, 2), from_rows.view(3, 2), from_rows.T)
    print(from_rows.matmul(from_rows.T), from_rows @ from_rows.T)

    F = torch.nn.functional
    y, x1 = torch.tensor([1.0]), torch.tensor([1.1])
    w1, b = torch.tensor([2.2], requires_grad=True), torch.tensor([0.0], requires_grad=True)
    loss = F.binary_cross_entropy(torch.sigmoid(x1 * w1 + b), y)
    print(loss)
    print(torch.autograd.grad(loss, w1, retain_graph=True), torch.autograd.grad(loss, b, retain_graph=True))
    loss.backward()
    print(w1.grad, b.grad)

    class NeuralNetwork(torch.nn.Module):
        def __init__(self, num_inputs, num_outputs):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(num_inputs, 30),
                torch.nn.ReLU(),
                torch.nn.Linear(30, 20),
                torch.nn.ReLU(),
                torch.nn.Linear(20, num_outputs),
            )

        def forward(self, x):
            return self.layers(x)

    model = NeuralNetwork(50, 3)
    print(model)
    print("parameters:", sum(p.numel() for p in model.parameters() if p.requires_grad))
    torch.manual_seed(123)
    model = NeuralNetwork(50, 3)
    print(model.layers[0].weight.shape, model.layers[0].weight)
    torch.manual_seed(123)
    X = torch.rand((1, 50))
    print(model(X))
    with torch.no_grad():
        print(model(X))
        print(torch.softmax(model(X), dim=1))

    X_train = torch.tensor([[-1.2, 3.1], [-0.9, 2.9], [-0.5, 2.6], [2.3, -1.1], [2.7, -1.5]])
    y_train = torch.tensor([0, 0, 0, 1, 1])

    class ToyDataset(torch.utils.data.Dataset):
        def __init__(self, X, y):
            self.features, self.labels = X, y

        def __getitem__(self, index):
            return self.features[index], self.labels[index]

        def __len__(self):
            return self.labels.shape[0]

    torch.manual_seed(123)
    loader = torch.utils.data.DataLoader(
        dataset=ToyDataset(X_train, y_train), batch_size=2, shuffle=True, num_workers=0, drop_last=True
    )
    for idx, (x, labels) in enumerate(loader):
        print(f"Batch {idx + 1}:", x, labels)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(123)
    model = NeuralNetwork(num_inputs=2, num_outputs=2).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for epoch in range(3):
        model.train()
        for batch_idx, (features, labels) in enumerate(loader):
            features, labels = features.to(device), labels.to(device)
            loss = F.cross_entropy(model(features), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"Epoch: {epoch + 1:03d}/003 | Batch {batch_idx:03d}/{len(loader):03d} | Train Loss: {loss:.2f}")
    model.eval()
    with torch.no_grad():
        outputs = model(X_train)
    print(outputs)
    torch.set_printoptions(sci_mode=False)
    print(torch.softmax(outputs, dim=1))
    predictions = torch.argmax(outputs, dim=1)
    print(predictions, predictions == y_train, torch.sum(predictions == y_train))
    torch.set_printoptions(profile="default")
    with tempfile.TemporaryDirectory() as place:
        torch.save(model.state_dict(), f"{place}/model.pth")
        again = NeuralNetwork(2, 2)
        print(again.load_state_dict(torch.load(f"{place}/model.pth", weights_only=True)))
        print(torch.equal(again(X_train), model(X_train)))


# -- chapter 2


def chapter_2(torch: Any, folder: Path) -> None:
    text = (folder / "the-verdict.txt").read_text("utf-8")
    words = [word for word in re.split(r'([,.:;?_!"()\']|--|\s)', text) if word.strip()]
    ids_of = {word: i for i, word in enumerate(sorted(set(words)))}
    ids = [ids_of[word] for word in words]
    print(len(text), len(words), len(ids_of))

    class WindowDataset(torch.utils.data.Dataset):
        def __init__(self, token_ids, max_length, stride):
            self.input_ids, self.target_ids = [], []
            for i in range(0, len(token_ids) - max_length, stride):
                self.input_ids.append(torch.tensor(token_ids[i : i + max_length]))
                self.target_ids.append(torch.tensor(token_ids[i + 1 : i + max_length + 1]))

        def __len__(self):
            return len(self.input_ids)

        def __getitem__(self, idx):
            return self.input_ids[idx], self.target_ids[idx]

    def loader(batch_size, max_length, stride, shuffle=False):
        return torch.utils.data.DataLoader(
            WindowDataset(ids, max_length, stride),
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=True,
            num_workers=0,
        )

    batches = iter(loader(1, 4, 1))
    print(next(batches))
    print(next(batches))
    inputs, targets = next(iter(loader(8, 4, 4)))
    print("Inputs:\n", inputs, "\n\nTargets:\n", targets)
    torch.manual_seed(123)
    print(next(iter(loader(2, 4, 4, shuffle=True))))

    torch.manual_seed(123)
    embedding_layer = torch.nn.Embedding(6, 3)
    print(embedding_layer.weight)
    print(embedding_layer(torch.tensor([3])))
    print(embedding_layer(torch.tensor([2, 3, 5, 1])))
    tokens, positions = torch.nn.Embedding(1132, 256), torch.nn.Embedding(4, 256)
    print(tokens(inputs).shape, positions(torch.arange(4)).shape)
    print((tokens(inputs) + positions(torch.arange(4))).shape)


# -- chapter 3


def attention_classes(torch: Any) -> Any:
    nn = torch.nn

    class SelfAttention_v1(nn.Module):
        def __init__(self, d_in, d_out):
            super().__init__()
            self.W_query = nn.Parameter(torch.rand(d_in, d_out))
            self.W_key = nn.Parameter(torch.rand(d_in, d_out))
            self.W_value = nn.Parameter(torch.rand(d_in, d_out))

        def forward(self, x):
            keys, queries, values = x @ self.W_key, x @ self.W_query, x @ self.W_value
            weights = torch.softmax(queries @ keys.T / keys.shape[-1] ** 0.5, dim=-1)
            return weights @ values

    class SelfAttention_v2(nn.Module):
        def __init__(self, d_in, d_out, qkv_bias=False):
            super().__init__()
            self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)

        def forward(self, x):
            keys, queries, values = self.W_key(x), self.W_query(x), self.W_value(x)
            weights = torch.softmax(queries @ keys.T / keys.shape[-1] ** 0.5, dim=-1)
            return weights @ values

    class CausalAttention(nn.Module):
        def __init__(self, d_in, d_out, context_length, dropout, qkv_bias=False):
            super().__init__()
            self.d_out = d_out
            self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.dropout = nn.Dropout(dropout)
            self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), diagonal=1))

        def forward(self, x):
            _, num_tokens, _ = x.shape
            keys, queries, values = self.W_key(x), self.W_query(x), self.W_value(x)
            attn_scores = queries @ keys.transpose(1, 2)
            attn_scores.masked_fill_(self.mask.bool()[:num_tokens, :num_tokens], -torch.inf)
            attn_weights = torch.softmax(attn_scores / keys.shape[-1] ** 0.5, dim=-1)
            return self.dropout(attn_weights) @ values

    class MultiHeadAttentionWrapper(nn.Module):
        def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
            super().__init__()
            self.heads = nn.ModuleList(
                [CausalAttention(d_in, d_out, context_length, dropout, qkv_bias) for _ in range(num_heads)]
            )

        def forward(self, x):
            return torch.cat([head(x) for head in self.heads], dim=-1)

    class MultiHeadAttention(nn.Module):
        def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
            super().__init__()
            self.d_out, self.num_heads, self.head_dim = d_out, num_heads, d_out // num_heads
            self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
            self.out_proj = nn.Linear(d_out, d_out)
            self.dropout = nn.Dropout(dropout)
            self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), diagonal=1))

        def forward(self, x):
            b, num_tokens, _ = x.shape
            keys, queries, values = self.W_key(x), self.W_query(x), self.W_value(x)
            keys = keys.view(b, num_tokens, self.num_heads, self.head_dim).transpose(1, 2)
            values = values.view(b, num_tokens, self.num_heads, self.head_dim).transpose(1, 2)
            queries = queries.view(b, num_tokens, self.num_heads, self.head_dim).transpose(1, 2)
            attn_scores = queries @ keys.transpose(2, 3)
            attn_scores.masked_fill_(self.mask.bool()[:num_tokens, :num_tokens], -torch.inf)
            attn_weights = self.dropout(torch.softmax(attn_scores / keys.shape[-1] ** 0.5, dim=-1))
            context_vec = (attn_weights @ values).transpose(1, 2)
            return self.out_proj(context_vec.contiguous().view(b, num_tokens, self.d_out))

    return SelfAttention_v1, SelfAttention_v2, CausalAttention, MultiHeadAttentionWrapper, MultiHeadAttention


def chapter_3(torch: Any, folder: Path) -> None:
    inputs = torch.tensor(INPUTS)
    query = inputs[1]
    attn_scores_2 = torch.empty(inputs.shape[0])
    for i, x_i in enumerate(inputs):
        attn_scores_2[i] = torch.dot(x_i, query)
    print(attn_scores_2)
    attn_weights_2 = torch.softmax(attn_scores_2, dim=0)
    print(attn_scores_2 / attn_scores_2.sum(), attn_weights_2, attn_weights_2.sum())
    context_vec_2 = torch.zeros(query.shape)
    for i, x_i in enumerate(inputs):
        context_vec_2 += attn_weights_2[i] * x_i
    print(context_vec_2)
    attn_weights = torch.softmax(inputs @ inputs.T, dim=-1)
    print(attn_weights, attn_weights.sum(dim=-1), attn_weights @ inputs)

    torch.manual_seed(123)
    W_query = torch.nn.Parameter(torch.rand(3, 2), requires_grad=False)
    W_key = torch.nn.Parameter(torch.rand(3, 2), requires_grad=False)
    W_value = torch.nn.Parameter(torch.rand(3, 2), requires_grad=False)
    query_2, keys, values = inputs[1] @ W_query, inputs @ W_key, inputs @ W_value
    print(query_2, keys.shape, query_2.dot(keys[1]))
    print(torch.softmax(query_2 @ keys.T / keys.shape[-1] ** 0.5, dim=-1) @ values)

    v1, v2, CausalAttention, Wrapper, MultiHeadAttention = attention_classes(torch)
    torch.manual_seed(123)
    sa_v1 = v1(3, 2)
    print(sa_v1(inputs))
    torch.manual_seed(789)
    sa_v2 = v2(3, 2)
    print(sa_v2(inputs))
    sa_v1.W_query = torch.nn.Parameter(sa_v2.W_query.weight.T)
    sa_v1.W_key = torch.nn.Parameter(sa_v2.W_key.weight.T)
    sa_v1.W_value = torch.nn.Parameter(sa_v2.W_value.weight.T)
    print(torch.allclose(sa_v1(inputs), sa_v2(inputs)))

    attn_scores = sa_v2.W_query(inputs) @ sa_v2.W_key(inputs).T
    attn_weights = torch.softmax(attn_scores / 2**0.5, dim=-1)
    print(attn_weights)
    simple = torch.tril(torch.ones(6, 6))
    masked_simple = attn_weights * simple
    print(masked_simple / masked_simple.sum(dim=-1, keepdim=True))
    mask = torch.triu(torch.ones(6, 6), diagonal=1)
    masked = attn_scores.masked_fill(mask.bool(), -torch.inf)
    print(masked)
    attn_weights = torch.softmax(masked / 2**0.5, dim=-1)
    torch.manual_seed(123)
    dropout = torch.nn.Dropout(0.5)
    print(dropout(torch.ones(6, 6)))
    torch.manual_seed(123)
    print(dropout(attn_weights))

    batch = torch.stack((inputs, inputs), dim=0)
    print(batch.shape)
    torch.manual_seed(123)
    print(CausalAttention(3, 2, batch.shape[1], 0.0)(batch))
    torch.manual_seed(123)
    context_vecs = Wrapper(3, 2, batch.shape[1], 0.0, num_heads=2)(batch)
    print(context_vecs, context_vecs.shape)
    torch.manual_seed(123)
    print(MultiHeadAttention(3, 2, batch.shape[1], 0.0, num_heads=2)(batch))
    print(MultiHeadAttention(3, 2, 6, 0.0, num_heads=2))


# -- chapter 4


def gpt_classes(torch: Any) -> Any:
    nn = torch.nn
    MultiHeadAttention = attention_classes(torch)[-1]

    class LayerNorm(nn.Module):
        def __init__(self, emb_dim):
            super().__init__()
            self.eps = 1e-5
            self.scale = nn.Parameter(torch.ones(emb_dim))
            self.shift = nn.Parameter(torch.zeros(emb_dim))

        def forward(self, x):
            mean = x.mean(dim=-1, keepdim=True)
            var = x.var(dim=-1, keepdim=True, unbiased=False)
            return self.scale * (x - mean) / torch.sqrt(var + self.eps) + self.shift

    class GELU(nn.Module):
        def __init__(self):
            super().__init__()

        def forward(self, x):
            inner = torch.sqrt(torch.tensor(2.0 / torch.pi)) * (x + 0.044715 * torch.pow(x, 3))
            return 0.5 * x * (1 + torch.tanh(inner))

    class FeedForward(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(cfg["emb_dim"], 4 * cfg["emb_dim"]), GELU(), nn.Linear(4 * cfg["emb_dim"], cfg["emb_dim"])
            )

        def forward(self, x):
            return self.layers(x)

    class TransformerBlock(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.att = MultiHeadAttention(
                d_in=cfg["emb_dim"],
                d_out=cfg["emb_dim"],
                context_length=cfg["context_length"],
                num_heads=cfg["n_heads"],
                dropout=cfg["drop_rate"],
                qkv_bias=cfg["qkv_bias"],
            )
            self.ff = FeedForward(cfg)
            self.norm1, self.norm2 = LayerNorm(cfg["emb_dim"]), LayerNorm(cfg["emb_dim"])
            self.drop_shortcut = nn.Dropout(cfg["drop_rate"])

        def forward(self, x):
            x = self.drop_shortcut(self.att(self.norm1(x))) + x
            return self.drop_shortcut(self.ff(self.norm2(x))) + x

    class GPTModel(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.tok_emb = nn.Embedding(cfg["vocab_size"], cfg["emb_dim"])
            self.pos_emb = nn.Embedding(cfg["context_length"], cfg["emb_dim"])
            self.drop_emb = nn.Dropout(cfg["drop_rate"])
            self.trf_blocks = nn.Sequential(*[TransformerBlock(cfg) for _ in range(cfg["n_layers"])])
            self.final_norm = LayerNorm(cfg["emb_dim"])
            self.out_head = nn.Linear(cfg["emb_dim"], cfg["vocab_size"], bias=False)

        def forward(self, in_idx):
            _, seq_len = in_idx.shape
            tok_embeds = self.tok_emb(in_idx)
            pos_embeds = self.pos_emb(torch.arange(seq_len, device=in_idx.device))
            x = self.trf_blocks(self.drop_emb(tok_embeds + pos_embeds))
            return self.out_head(self.final_norm(x))

    return LayerNorm, GELU, FeedForward, TransformerBlock, GPTModel


def generate_text_simple(torch: Any, model: Any, idx: Any, max_new_tokens: int, context_size: int) -> Any:
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(idx[:, -context_size:])
        probas = torch.softmax(logits[:, -1, :], dim=-1)
        idx = torch.cat((idx, torch.argmax(probas, dim=-1, keepdim=True)), dim=1)
    return idx


def chapter_4(torch: Any, folder: Path) -> None:
    nn = torch.nn
    LayerNorm, GELU, _, TransformerBlock, GPTModel = gpt_classes(torch)
    torch.manual_seed(123)
    batch_example = torch.randn(2, 5)
    layer = nn.Sequential(nn.Linear(5, 6), nn.ReLU())
    out = layer(batch_example)
    print(out)
    mean, var = out.mean(dim=-1, keepdim=True), out.var(dim=-1, keepdim=True)
    print("Mean:\n", mean, "\nVariance:\n", var)
    out_norm = (out - mean) / torch.sqrt(var)
    print(out_norm)
    torch.set_printoptions(sci_mode=False)
    print(out_norm.mean(dim=-1, keepdim=True).abs().max() < 1e-6, out_norm.var(dim=-1, keepdim=True))
    out_ln = LayerNorm(emb_dim=5)(batch_example)
    print(out_ln.var(dim=-1, unbiased=False, keepdim=True))
    torch.set_printoptions(profile="default")
    print(GELU()(torch.linspace(-3, 3, 7)))

    class ExampleDeepNeuralNetwork(nn.Module):
        def __init__(self, layer_sizes, use_shortcut):
            super().__init__()
            self.use_shortcut = use_shortcut
            pairs = itertools.pairwise(layer_sizes)
            self.layers = nn.ModuleList([nn.Sequential(nn.Linear(a, b), GELU()) for a, b in pairs])

        def forward(self, x):
            for layer in self.layers:
                layer_output = layer(x)
                x = x + layer_output if self.use_shortcut and x.shape == layer_output.shape else layer_output
            return x

    for use_shortcut in (False, True):
        torch.manual_seed(123)
        model = ExampleDeepNeuralNetwork([3, 3, 3, 3, 3, 1], use_shortcut)
        loss = nn.MSELoss()(model(torch.tensor([[1.0, 0.0, -1.0]])), torch.tensor([[0.0]]))
        loss.backward()
        for name, param in model.named_parameters():
            if "weight" in name:
                print(f"{name} has gradient mean of {param.grad.abs().mean().item():.6f}")

    torch.manual_seed(123)
    x = torch.rand(2, 4, 24)
    print(TransformerBlock(SMALL)(x).shape)
    torch.manual_seed(123)
    model = GPTModel(SMALL)
    batch = torch.tensor([[6, 36, 10, 34], [6, 11, 22, 5]])
    out = model(batch)
    print(out.shape, out)
    total_params = sum(p.numel() for p in model.parameters())
    print(f"{total_params:,}", total_params - sum(p.numel() for p in model.out_head.parameters()))
    print(f"Total size of the model: {total_params * 4 / (1024 * 1024):.2f} MB")
    print(model)
    model.eval()
    encoded = torch.tensor([15, 49, 11, 31]).unsqueeze(0)
    print(generate_text_simple(torch, model, encoded, 6, SMALL["context_length"]), encoded.shape)


# -- chapter 5


def calc_loss_batch(torch: Any, input_batch: Any, target_batch: Any, model: Any, device: Any) -> Any:
    input_batch, target_batch = input_batch.to(device), target_batch.to(device)
    logits = model(input_batch)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target_batch.flatten())


def chapter_5(torch: Any, folder: Path) -> None:
    GPTModel = gpt_classes(torch)[-1]
    text = (folder / "the-verdict.txt").read_text("utf-8")[:2000]
    letters = {letter: i for i, letter in enumerate(sorted(set(text)))}
    ids = [letters[letter] for letter in text]
    torch.manual_seed(123)
    model = GPTModel(SMALL)
    model.eval()
    inputs = torch.tensor([[16, 36, 11], [40, 12, 28]])
    targets = torch.tensor([[36, 11, 34], [10, 28, 13]])
    with torch.no_grad():
        logits = model(inputs)
    probas = torch.softmax(logits, dim=-1)
    print(probas.shape, torch.argmax(probas, dim=-1, keepdim=True))
    target_probas = [probas[i, [0, 1, 2], targets[i]] for i in range(2)]
    log_probas = torch.log(torch.cat(target_probas))
    print(log_probas, torch.mean(log_probas), torch.mean(log_probas) * -1)
    logits_flat, targets_flat = logits.flatten(0, 1), targets.flatten()
    loss = torch.nn.functional.cross_entropy(logits_flat, targets_flat)
    print(logits_flat.shape, targets_flat.shape, loss, torch.exp(loss))

    rows = [(torch.tensor(ids[i : i + 16]), torch.tensor(ids[i + 1 : i + 17])) for i in range(0, 1600, 16)]
    torch.manual_seed(123)
    train_loader = torch.utils.data.DataLoader(rows[:90], batch_size=5, shuffle=True, drop_last=True, num_workers=0)
    val_loader = torch.utils.data.DataLoader(rows[90:], batch_size=5, shuffle=False, drop_last=False, num_workers=0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def calc_loss_loader(loader, num_batches=None):
        total_loss = 0.0
        num_batches = len(loader) if num_batches is None else min(num_batches, len(loader))
        for i, (input_batch, target_batch) in enumerate(loader):
            if i >= num_batches:
                break
            total_loss += calc_loss_batch(torch, input_batch, target_batch, model, device).item()
        return total_loss / num_batches

    torch.manual_seed(123)
    model = GPTModel({**SMALL, "drop_rate": 0.1})
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002, weight_decay=0.1)
    tokens_seen, global_step = 0, -1
    for epoch in range(2):
        model.train()
        for input_batch, target_batch in train_loader:
            optimizer.zero_grad()
            loss = calc_loss_batch(torch, input_batch, target_batch, model, device)
            loss.backward()
            optimizer.step()
            tokens_seen += input_batch.numel()
            global_step += 1
            if global_step % 9 == 0:
                model.eval()
                with torch.no_grad():
                    train_loss, val_loss = calc_loss_loader(train_loader, 2), calc_loss_loader(val_loader)
                model.train()
                print(f"Ep {epoch + 1} (Step {global_step:06d}): Train loss {train_loss:.3f}, Val loss {val_loss:.3f}")
    print(tokens_seen)

    def generate(model, idx, max_new_tokens, context_size, temperature=0.0, top_k=None, eos_id=None):
        for _ in range(max_new_tokens):
            with torch.no_grad():
                logits = model(idx[:, -context_size:])
            logits = logits[:, -1, :]
            if top_k is not None:
                top_logits, _ = torch.topk(logits, top_k)
                min_val = top_logits[:, -1]
                logits = torch.where(logits < min_val, torch.tensor(float("-inf")).to(logits.device), logits)
            if temperature > 0.0:
                probs = torch.softmax(logits / temperature, dim=-1)
                idx_next = torch.multinomial(probs, num_samples=1)
            else:
                idx_next = torch.argmax(logits, dim=-1, keepdim=True)
            if idx_next == eos_id:
                break
            idx = torch.cat((idx, idx_next), dim=1)
        return idx

    model.eval()
    torch.manual_seed(123)
    print(generate(model, torch.tensor([[1, 2, 3]]), 15, 16, temperature=1.4, top_k=25).squeeze(0).tolist())

    next_token_logits = torch.tensor([4.51, 0.89, -1.90, 6.75, 1.63, -1.62, -1.89, 6.28, 1.79])
    probas = torch.softmax(next_token_logits, dim=0)
    torch.manual_seed(123)
    print(torch.multinomial(probas, num_samples=1).item())
    torch.manual_seed(123)
    sample = [torch.multinomial(probas, num_samples=1).item() for i in range(1_000)]
    print(torch.bincount(torch.tensor(sample), minlength=len(probas)))
    top_logits, top_pos = torch.topk(next_token_logits, 3)
    print("Top logits:", top_logits, "Top positions:", top_pos)
    new_logits = torch.full_like(next_token_logits, -torch.inf)
    new_logits[top_pos] = next_token_logits[top_pos]
    print(new_logits, torch.softmax(new_logits, dim=0))

    with tempfile.TemporaryDirectory() as place:
        path = f"{place}/model_and_optimizer.pth"
        torch.save({"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}, path)
        checkpoint = torch.load(path, weights_only=True, map_location=device)
        again = GPTModel(SMALL)
        print(again.load_state_dict(checkpoint["model_state_dict"]))
        optimizer_again = torch.optim.AdamW(again.parameters(), lr=5e-4, weight_decay=0.1)
        optimizer_again.load_state_dict(checkpoint["optimizer_state_dict"])
        print(optimizer_again.param_groups[0]["lr"])
        again.eval()
        print(torch.equal(again(inputs), model(inputs)))


# -- chapters 6 and 7, and the appendices on training and on LoRA


def chapter_6(torch: Any, folder: Path) -> None:
    GPTModel = gpt_classes(torch)[-1]
    torch.manual_seed(123)
    model = GPTModel({**SMALL, "drop_rate": 0.0})
    model.eval()
    for param in model.parameters():
        param.requires_grad = False
    torch.manual_seed(123)
    model.out_head = torch.nn.Linear(in_features=SMALL["emb_dim"], out_features=2)
    for param in model.trf_blocks[-1].parameters():
        param.requires_grad = True
    for param in model.final_norm.parameters():
        param.requires_grad = True
    print(sum(p.numel() for p in model.parameters() if p.requires_grad))
    inputs = torch.tensor([5, 2, 40, 7]).unsqueeze(0)
    print("Inputs:", inputs, "Inputs dimensions:", inputs.shape)
    with torch.no_grad():
        outputs = model(inputs)
    print("Outputs:\n", outputs, outputs.shape)
    print("Last output token:", outputs[:, -1, :])
    print("Class label:", torch.argmax(torch.softmax(outputs[:, -1, :], dim=-1)).item())

    class SpamDataset(torch.utils.data.Dataset):
        def __init__(self, rows, pad_token_id=59):
            longest = max(len(row) for row, _ in rows)
            self.rows = [(row + [pad_token_id] * (longest - len(row)), label) for row, label in rows]

        def __getitem__(self, index):
            encoded, label = self.rows[index]
            return torch.tensor(encoded, dtype=torch.long), torch.tensor(label, dtype=torch.long)

        def __len__(self):
            return len(self.rows)

    rows = [([i % 7 + 10 * (i % 2), 3, i % 5] + [20] * (i % 3), i % 2) for i in range(24)]
    torch.manual_seed(123)
    loader = torch.utils.data.DataLoader(SpamDataset(rows), batch_size=8, shuffle=True, num_workers=0, drop_last=True)
    input_batch, target_batch = list(loader)[-1]
    print("Input batch dimensions:", input_batch.shape, "Label batch dimensions", target_batch.shape)
    device = torch.device("cpu")

    def accuracy():
        model.eval()
        correct_predictions, num_examples = 0, 0
        for input_batch, target_batch in loader:
            with torch.no_grad():
                logits = model(input_batch.to(device))[:, -1, :]
            predicted_labels = torch.argmax(logits, dim=-1)
            num_examples += predicted_labels.shape[0]
            correct_predictions += (predicted_labels == target_batch).sum().item()
        return correct_predictions / num_examples

    print(f"{accuracy() * 100:.2f}%")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    for _ in range(4):
        model.train()
        for input_batch, target_batch in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(input_batch)[:, -1, :], target_batch)
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f}")
    print(f"{accuracy() * 100:.2f}%")


def chapter_7(torch: Any, folder: Path) -> None:
    def custom_collate_fn(batch, pad_token_id=50256, ignore_index=-100, allowed_max_length=None, device="cpu"):
        batch_max_length = max(len(item) + 1 for item in batch)
        inputs_lst, targets_lst = [], []
        for item in batch:
            new_item = item.copy()
            new_item += [pad_token_id]
            padded = new_item + [pad_token_id] * (batch_max_length - len(new_item))
            inputs, targets = torch.tensor(padded[:-1]), torch.tensor(padded[1:])
            mask = targets == pad_token_id
            indices = torch.nonzero(mask).squeeze()
            if indices.numel() > 1:
                targets[indices[1:]] = ignore_index
            if allowed_max_length is not None:
                inputs, targets = inputs[:allowed_max_length], targets[:allowed_max_length]
            inputs_lst.append(inputs)
            targets_lst.append(targets)
        return torch.stack(inputs_lst).to(device), torch.stack(targets_lst).to(device)

    batch = ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9])
    inputs, targets = custom_collate_fn(batch)
    print(inputs)
    print(targets)
    F = torch.nn.functional
    logits_1 = torch.tensor([[-1.0, 1.0], [-0.5, 1.5]])
    print(F.cross_entropy(logits_1, torch.tensor([0, 1])))
    logits_2 = torch.tensor([[-1.0, 1.0], [-0.5, 1.5], [-0.5, 1.5]])
    print(F.cross_entropy(logits_2, torch.tensor([0, 1, 1])))
    loss_1, loss_3 = (
        F.cross_entropy(logits_1, torch.tensor([0, 1])),
        F.cross_entropy(logits_2, torch.tensor([0, 1, -100])),
    )
    print(loss_3, "loss_1 == loss_3:", loss_1 == loss_3)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if torch.backends.mps.is_available():
        device = torch.device("mps")
    print("Device:", device)
    collate = partial(custom_collate_fn, device=device, allowed_max_length=4)
    torch.manual_seed(123)
    data = [[i, i + 1, i + 2][: i % 3 + 1] for i in range(9)]
    loader = torch.utils.data.DataLoader(
        data, batch_size=4, collate_fn=collate, shuffle=True, drop_last=True, num_workers=0
    )
    for inputs, targets in loader:
        print(inputs.shape, targets.shape)
    print(inputs, targets)


def appendix_d(torch: Any, folder: Path) -> None:
    GPTModel = gpt_classes(torch)[-1]
    torch.manual_seed(123)
    model = GPTModel(SMALL)
    model.eval()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    n_epochs, initial_lr, peak_lr, min_lr = 15, 0.0001, 0.01, 1e-5
    total_steps = 9 * n_epochs
    warmup_steps = int(0.2 * total_steps)
    print(warmup_steps)
    lr_increment = (peak_lr - initial_lr) / warmup_steps
    global_step, track_lrs = -1, []
    for _ in range(total_steps):
        optimizer.zero_grad()
        global_step += 1
        if global_step < warmup_steps:
            lr = initial_lr + global_step * lr_increment
        else:
            progress = (global_step - warmup_steps) / (total_steps - warmup_steps)
            lr = min_lr + (peak_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
        for param_group in optimizer.param_groups:
            param_group["lr"] = lr
        track_lrs.append(optimizer.param_groups[0]["lr"])
    print([round(lr, 6) for lr in track_lrs[::15]])

    def find_highest_gradient(model):
        max_grad = None
        for param in model.parameters():
            if param.grad is not None:
                grad_values = param.grad.data.flatten()
                max_grad_param = grad_values.max()
                if max_grad is None or max_grad_param > max_grad:
                    max_grad = max_grad_param
        return max_grad

    torch.manual_seed(123)
    loss = calc_loss_batch(
        torch, torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[2, 3, 4], [5, 6, 7]]), model, torch.device("cpu")
    )
    loss.backward()
    print(find_highest_gradient(model))
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    print(find_highest_gradient(model))


def appendix_e(torch: Any, folder: Path) -> None:
    GPTModel = gpt_classes(torch)[-1]

    class LoRALayer(torch.nn.Module):
        def __init__(self, in_dim, out_dim, rank, alpha):
            super().__init__()
            self.A = torch.nn.Parameter(torch.empty(in_dim, rank))
            torch.nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
            self.B = torch.nn.Parameter(torch.zeros(rank, out_dim))
            self.alpha = alpha

        def forward(self, x):
            return self.alpha * (x @ self.A @ self.B)

    class LinearWithLoRA(torch.nn.Module):
        def __init__(self, linear, rank, alpha):
            super().__init__()
            self.linear = linear
            self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha)

        def forward(self, x):
            return self.linear(x) + self.lora(x)

    def replace_linear_with_lora(model, rank, alpha):
        for name, module in model.named_children():
            if isinstance(module, torch.nn.Linear):
                setattr(model, name, LinearWithLoRA(module, rank, alpha))
            else:
                replace_linear_with_lora(module, rank, alpha)

    torch.manual_seed(123)
    model = GPTModel({**SMALL, "drop_rate": 0.0})
    model.out_head = torch.nn.Linear(SMALL["emb_dim"], 2)
    model.eval()
    x = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = model(x)
    print(sum(p.numel() for p in model.parameters() if p.requires_grad))
    for param in model.parameters():
        param.requires_grad = False
    print(sum(p.numel() for p in model.parameters() if p.requires_grad))
    replace_linear_with_lora(model, rank=4, alpha=16)
    print(sum(p.numel() for p in model.parameters() if p.requires_grad))
    print(model)
    print(torch.equal(model(x), before))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x)[:, -1, :], torch.tensor([1]))
        loss.backward()
        optimizer.step()
        print(f"{loss.item():.4f}")


NEED_TEXTS = {"chapter 2", "chapter 5"}
CHAPTERS = {
    "appendix A": appendix_a,
    "chapter 2": chapter_2,
    "chapter 3": chapter_3,
    "chapter 4": chapter_4,
    "chapter 5": chapter_5,
    "chapter 6": chapter_6,
    "chapter 7": chapter_7,
    "appendix D": appendix_d,
    "appendix E": appendix_e,
}


def printed(name: str, torch: Any, folder: Path) -> list[str]:
    """The lines that a chapter prints when `torch` is the module given."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        CHAPTERS[name](torch, folder)
    return output.getvalue().splitlines()


if __name__ == "__main__":
    import torch

    lines = {name: printed(name, torch, Path(sys.argv[1])) for name in CHAPTERS}
    PRINTED.write_text(json.dumps(lines, indent=1) + "\n", "utf-8")
