"""Code in PyTorch's words, one line each or several; what PyTorch 2.13 prints for it is in printed.json.

`python tests/torch_words/snippets.py` writes that file again, where PyTorch is installed.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

PRINTED = Path(__file__).with_name("printed.json")

EXPRESSIONS = """
torch.tensor([1, 2, 3])
torch.tensor([1.0, 2.0, 3.0])
torch.tensor([[1.5, -2.25], [3.0, 4.0]])
torch.tensor(3)
torch.tensor(3.14159)
torch.tensor([True, False])
torch.tensor([1.0, 2.0], dtype=torch.float64)
torch.tensor([1, 2], dtype=torch.int32)
torch.tensor([1.0], dtype=torch.float16)
torch.tensor([1.0], requires_grad=True)
torch.tensor([])
torch.zeros(0, 3)
torch.zeros(2, 0, dtype=torch.int64)
torch.tensor([1e-5, 1.0])
torch.tensor([1e9, 1.0])
torch.tensor([1e5, 2e5])
torch.tensor([1000.0, 1.0, 0.5])
torch.tensor([10000.0, 1.5])
torch.tensor([float("inf"), 1.0, float("nan")])
torch.tensor([float("inf"), -float("inf")])
torch.tensor([0.0, -0.0])
torch.tensor([0.00001])
torch.tensor([123456.0])
torch.tensor([1e-10, 1e10])
torch.tensor([[0.1, 1000.0], [-1.0, 3.0]])
torch.arange(1001)
torch.arange(2000).reshape(2, 1000)
torch.arange(12).reshape(2, 2, 3)
torch.arange(30)
torch.linspace(0, 1, 11)
torch.linspace(0, 1, 1500)
torch.zeros(20, 20, 20)
torch.ones(2, 3)
torch.full((2, 2), 7)
torch.full((2, 2), 0.5)
torch.eye(3)
torch.arange(1.0, 2.0, 0.25)
torch.arange(5).dtype
torch.tensor([1.0]).dtype
torch.float64
torch.long
torch.tensor([[1, 2], [3, 4]]).shape
torch.zeros(2, 3, 4).shape[1:]
torch.zeros(2, 3).size()
torch.zeros(2, 3).size(1)
torch.zeros(2, 3).numel()
torch.zeros(2, 3).dim()
torch.device("cpu")
torch.tensor([1.0]).device
torch.tensor([[1, 2, 3], [4, 5, 6]]).T
torch.tensor([[1, 2, 3], [4, 5, 6]]).view(3, 2)
torch.tensor([[1, 2, 3], [4, 5, 6]]).reshape(-1)
torch.tensor([[1, 2, 3], [4, 5, 6]]) @ torch.tensor([[1, 2, 3], [4, 5, 6]]).T
torch.tensor([[1, 2, 3], [4, 5, 6]]).matmul(torch.tensor([[1], [0], [1]]))
torch.tensor([[1.0, 2.0], [3.0, 4.0]]).mean(dim=-1, keepdim=True)
torch.tensor([[1.0, 2.0], [3.0, 5.0]]).var(dim=-1, keepdim=True)
torch.tensor([[1.0, 2.0], [3.0, 5.0]]).var(dim=-1, unbiased=False)
torch.tensor([[1.0, 2.0], [3.0, 5.0]]).std(0)
torch.tensor([[1.0, 5.0], [3.0, 2.0]]).max()
torch.tensor([[1.0, 5.0], [3.0, 2.0]]).max(dim=1)
torch.max(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), 0)
torch.min(torch.tensor([[1, 5], [3, 2]]), dim=1, keepdim=True)
torch.tensor([3.0, 1.0, 2.0]).sort()
torch.tensor([3.0, 1.0, 2.0]).sort(descending=True)
torch.topk(torch.tensor([4.51, 0.89, -1.9, 6.75]), 2)
torch.argmax(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=-1)
torch.argmax(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=-1, keepdim=True)
torch.softmax(torch.tensor([0.9544, 1.4950, 1.4754]), dim=0)
torch.nn.functional.softmax(torch.tensor([[1.0, 2.0]]), dim=-1)
torch.nn.functional.one_hot(torch.tensor([0, 2, 1]), 4)
torch.nn.functional.cross_entropy(torch.tensor([[-1.0, 1.0], [-0.5, 1.5]]), torch.tensor([0, 1]))
torch.nn.functional.cross_entropy(torch.tensor([[-1.0, 1.0], [-0.5, 1.5], [-0.5, 1.5]]), torch.tensor([0, 1, -100]))
torch.nn.functional.cross_entropy(torch.tensor([[[1.0, 2.0], [0.0, 1.0]]]), torch.tensor([[0, 1]]))
torch.nn.functional.cross_entropy(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.25, 0.75]]))
torch.nn.functional.cross_entropy(torch.tensor([[1.0, 2.0]]), torch.tensor([0]), weight=torch.tensor([2.0, 1.0]))
torch.nn.functional.pad(torch.ones(2, 2), (1, 0, 0, 2))
torch.nn.functional.layer_norm(torch.tensor([[1.0, 2.0, 4.0]]), (3,))
torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
torch.nn.functional.logsigmoid(torch.tensor([0.0, -100.0]))
torch.where(torch.tensor([1.0, -1.0]) > 0, torch.tensor(0.0), torch.tensor(-float("inf")))
torch.where(torch.tensor([0.0, 2.0, 3.0]) > 1)
torch.tril(torch.ones(3, 3))
torch.triu(torch.ones(3, 3), diagonal=1)
torch.tensor([1.0, 2.0]).masked_fill(torch.tensor([True, False]), -torch.inf)
torch.cat((torch.tensor([[1, 2]]), torch.tensor([[3, 4]])), dim=1)
torch.stack([torch.tensor([1, 2]), torch.tensor([3, 4])])
torch.stack([torch.tensor([1, 2]), torch.tensor([3, 4])], dim=1)
torch.tensor([1, 2, 3]).unsqueeze(0)
torch.tensor([[1, 2, 3]]).squeeze(0)
torch.tensor([1, 2, 3]).float()
torch.tensor([0, 2, 3]).bool()
torch.tensor([1.7, -2.3]).long()
torch.tensor([1, 2, 3]).to(torch.float64)
torch.tensor([1, 2, 3]).tolist()
torch.tensor([2.5]).item()
torch.nonzero(torch.tensor([0, 3, 0, 4]))
torch.bincount(torch.tensor([0, 3, 3]), minlength=5)
torch.tensor([1, 2]) == torch.tensor([1, 3])
(torch.tensor([1, 2]) == torch.tensor([1, 3])).sum().item()
torch.tensor([True, False]) & torch.tensor([True, True])
torch.tensor([True, False]) | torch.tensor([False, False])
~torch.tensor([True, False])
torch.tensor([7, -7]) % 3
torch.einsum("ij,jk->ik", torch.ones(2, 3), torch.ones(3, 2))
torch.pow(torch.tensor([1.0, 2.0]), 3)
torch.dot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
torch.exp(torch.tensor(0.0))
torch.sqrt(torch.tensor([4.0, 9.0]))
torch.abs(torch.tensor([-1.0, 2.0]))
torch.tensor([1.0, 2.0]).norm()
torch.tensor([[1, 2], [3, 4]]).repeat(2, 2)
torch.tensor([1, 2]).repeat_interleave(2)
torch.tensor([[1, 2], [3, 4]]).flatten()
torch.tensor([1, 2, 3, 4, 5]).chunk(2)
torch.tensor([1, 2, 3, 4, 5]).split(2)
torch.tensor([[1, 2], [3, 4]])[:, 1]
torch.tensor([[1, 2], [3, 4]])[torch.tensor([0, 0])]
torch.tensor([1.0, 2.0, 3.0])[torch.tensor([True, False, True])]
torch.tensor([[1.0, 2.0]]).gather(1, torch.tensor([[1, 0]]))
torch.tensor([1.0, 2.0]).clamp(min=1.5)
torch.tensor([1.0, 2.0]).cumsum(dim=0)
torch.tensor([2.0], requires_grad=True) * 2
torch.tensor([2.0], requires_grad=True) + 1
torch.tensor([[2.0]], requires_grad=True) @ torch.tensor([[2.0]])
torch.tensor([2.0], requires_grad=True).sum()
torch.tensor([[2.0, 1.0]], requires_grad=True).mean(dim=-1)
torch.tensor([2.0], requires_grad=True).exp()
torch.tensor([2.0], requires_grad=True).view(1, 1)
torch.tensor([[2.0, 1.0]], requires_grad=True).transpose(0, 1)
torch.softmax(torch.tensor([[2.0, 1.0]], requires_grad=True), dim=-1)
torch.relu(torch.tensor([2.0], requires_grad=True))
torch.tensor([2.0, 1.0], requires_grad=True).var()
torch.sqrt(torch.tensor([2.0], requires_grad=True))
torch.tensor([2.0], requires_grad=True) / 3
torch.cat([torch.tensor([2.0], requires_grad=True), torch.tensor([1.0])])
torch.tensor([2.0, 1.0], requires_grad=True).max()
torch.tensor([2.0, 1.0], requires_grad=True) ** 2
torch.ones(2, 3, 4, requires_grad=True) @ torch.ones(4, 2)
torch.ones(1, 2, 3, requires_grad=True) @ torch.ones(1, 3, 2)
-torch.tensor([2.0], requires_grad=True)
torch.nn.Linear(2, 3)
torch.nn.Linear(2, 3, bias=False)
torch.nn.Embedding(6, 3)
torch.nn.Embedding(6, 3, padding_idx=0)
torch.nn.Dropout(0.1)
torch.nn.LayerNorm(5)
torch.nn.LayerNorm((2, 5), eps=1e-6)
torch.nn.RMSNorm(8)
torch.nn.GELU()
torch.nn.SiLU()
torch.nn.ReLU()
torch.nn.Softmax(dim=1)
torch.nn.MSELoss()
torch.nn.CrossEntropyLoss()
torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(3)])
torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.ReLU()])
torch.nn.Parameter(torch.ones(2))
torch.nn.Identity()
f"{torch.tensor(0.12345678):.3f}"
f"{torch.tensor([1, 2])}"
torch.tensor([1.0]).type()
torch.Size([2, 3])
torch.tensor([1.0, 2.0]).isnan().any()
torch.allclose(torch.tensor([1.0]), torch.tensor([1.0 + 1e-9]))
torch.equal(torch.tensor([1]), torch.tensor([1]))
torch.tensor(5.0) > 3
torch.tensor([1, 2, 3]).max(0).values
len(torch.tensor([1, 2, 3]))
[x for x in torch.tensor([1, 2])]
torch.tensor([1.0, 2.0]).sum(dim=0, keepdim=True)
torch.ones(2, 2).mT
torch.ones(2, 3).expand(4, 2, 3).shape
torch.tensor([[1.0, 2.0], [3.0, 4.0]]).prod(dim=1)
torch.tensor([1.0, 3.0, 2.0]).argsort()
torch.tensor([1.0, 3.0, 2.0]).flip(dims=[0])
torch.tensor([1, 2, 3]).roll(1)
torch.diag(torch.tensor([1, 2]))
torch.tensor([[1, 2], [3, 4]]).diagonal()
torch.outer(torch.tensor([1, 2]), torch.tensor([1, 2]))
torch.tensor([[1.0, 3.0], [2.0, 0.0]]).amax(dim=1)
torch.tensor([7, -7]) // 2
torch.zeros(2, 3).scatter_(1, torch.tensor([[2], [0]]), 1.0)
torch.vstack((torch.tensor([1, 2]), torch.tensor([3, 4])))
torch.hstack((torch.tensor([1, 2]), torch.tensor([3, 4])))
torch.ones(2, dtype=torch.float64).new_zeros(2, 3)
torch.count_nonzero(torch.tensor([0, 3, 0, 4]))
torch.arange(24).reshape(2, 3, 4).movedim((0, 1), (2, 0)).shape
torch.arange(8.0).unflatten(0, (2, -1))
torch.arange(6).reshape(2, 3).narrow(1, 1, 2)
torch.arange(6).reshape(2, 3).select(1, -1)
torch.trace(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
torch.tensor([[1.0, 5.0, 2.0], [7.0, 0.0, 3.0]]).median()
torch.median(torch.tensor([[1.0, 5.0, 2.0], [7.0, 0.0, 3.0]]), dim=1)
torch.median(torch.tensor([1.0, float("nan"), 0.0]))
torch.nan_to_num(torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0]))
torch.tensor([1.0, 8.0, 10.0]).log2()
torch.log10(torch.tensor([1.0, 8.0, 10.0]))
torch.cumprod(torch.tensor([[1.0, 2.0, 3.0], [0.0, 4.0, 5.0]]), dim=1)
torch.zeros(3, 2).index_add_(0, torch.tensor([2, 0, 2]), torch.ones(3, 2))
torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 5]))
torch.nn.Linear(torch.tensor(3), 2)
torch.nn.init._calculate_fan_in_and_fan_out(torch.ones(2, 3))
torch.ones(2, dtype=torch.float64).new_ones(2, 3)
torch.ones(2, dtype=torch.int64).new_full((2, 2), 7)
torch.tensor([1.0, 2.0]).new_tensor([3, 4])
torch.tensor([1, 2]).fill_(5)
torch.tensor([-1.0, 0.5, 3.0]).clamp_(0.0, 1.0)
torch.tensor([-1.0, 0.5, 3.0]).clamp_(min=0.0)
torch.zeros(2, 3).copy_(torch.tensor([1.0, 2.0, 3.0]))
torch.zeros(2, dtype=torch.int64).copy_(torch.tensor([1.7, -2.7]))
torch.arange(6).view_as(torch.ones(2, 3))
torch.tensor([1.0, 2.0, 3.0]).expand_as(torch.ones(2, 3))
torch.nn.utils.parameters_to_vector([torch.ones(2, 2), torch.zeros(3)])
torch.nn.init.eye_(torch.empty(2, 3))
torch.nn.init.constant_(torch.empty(2), 0.3)
torch.nn.init.ones_(torch.empty(2))
torch.nn.init.zeros_(torch.empty(2))
torch.tensor([[3.0, 1.0], [2.0, 4.0]]).amin(dim=1)
torch.ceil(torch.tensor([-1.5, 0.2]))
torch.floor(torch.tensor([-1.5, 0.2]))
torch.floor_divide(torch.tensor([7.0, -7.0]), 2)
torch.tensor([1.0, 4.0]).div_(2)
torch.tensor([1.0, 4.0]).sub_(torch.tensor([1.0, 1.0]), alpha=2)
torch.tensor([1.5]).double()
torch.tensor([1.0]).element_size()
torch.iinfo(torch.int32).max
torch.index_select(torch.arange(6).reshape(2, 3), 1, torch.tensor([2, 0]))
torch.masked_select(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, True]))
torch.ones(2, 3).T.is_contiguous()
torch.is_tensor(torch.ones(1)), torch.is_tensor(1.0)
torch.isclose(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]))
torch.log_softmax(torch.tensor([[1.0, 2.0, 3.0]]), dim=-1)
torch.ones_like(torch.tensor([[1, 2]]))
torch.arange(4).reshape(2, 2).ravel()
torch.reciprocal(torch.tensor([2.0, 4.0]))
torch.sign(torch.tensor([-2.0, 0.0, 3.0]))
torch.arange(4).reshape(2, 2).unbind(1)
torch.tensor([1.0]).requires_grad_()
torch.as_tensor([1.0, 2.0])
torch.nn.init.calculate_gain("relu")
torch.nn.init.calculate_gain("leaky_relu", 0.2)
torch.nn.BCELoss()(torch.tensor([0.25, 0.5]), torch.tensor([0.0, 1.0]))
torch.nn.BCEWithLogitsLoss()(torch.tensor([-1.0, 2.0]), torch.tensor([0.0, 1.0]))
torch.nn.NLLLoss()(torch.tensor([[-0.5, -1.0], [-2.0, -0.25]]), torch.tensor([1, 0]))
torch.nn.Flatten()(torch.ones(2, 3, 4)).shape
torch.nn.Sigmoid()(torch.tensor([0.0, 1.0]))
torch.nn.Tanh()(torch.tensor([0.0, 1.0]))
torch.nn.ModuleDict({"a": torch.nn.Linear(1, 2), "b": torch.nn.ReLU()})
float(torch.finfo(torch.float32).eps)
torch.tensor([7, -7]) // 2.0
torch.tensor([7], dtype=torch.int32) // 2
7 // torch.tensor([2.0, -2.0])
torch.floor_divide(torch.tensor([7]), torch.tensor([2.0]))
"""

PROGRAMS = """
torch.manual_seed(123)
print(torch.rand(2, 3))
print(torch.randn(2, 5))
print(torch.randint(0, 10, (3,)))
print(torch.randperm(5))
---
torch.manual_seed(123)
print(torch.nn.Linear(2, 2).weight)
print(torch.nn.Embedding(3, 2).weight)
---
torch.manual_seed(123)
d = torch.nn.Dropout(0.5)
print(d(torch.ones(6, 6)))
print(d.eval()(torch.ones(2)))
---
torch.manual_seed(123)
layer = torch.nn.Linear(3, 2)
print(layer(torch.ones(2, 3)))
print(layer(torch.ones(1, 2, 3)))
print(torch.nn.Linear(3, 2, bias=False)(torch.ones(1, 2, 3)))
---
w = torch.tensor([2.0], requires_grad=True)
(w * w).sum().backward()
print(w.grad)
print(w.grad.abs().mean())
print(w.grad.data.flatten().max())
print(w.grad * 2)
w.grad.zero_()
print(w.grad)
---
w = torch.tensor([2.0], requires_grad=True)
loss = 0
for i in range(3):
    loss += w * i
print(loss)
loss.backward()
print(w.grad)
---
x = torch.zeros(2, 3)
x[0, 1] = 5
x[x == 5] = 7.0
x[1] = torch.tensor([1.0, 2.0, 3.0])
print(x)
x += 1
print(x)
---
q = torch.ones(2, 2, requires_grad=True)
s = q * 3
s.masked_fill_(torch.tensor([[False, True], [False, False]]), -torch.inf)
print(s)
print(torch.softmax(s, dim=-1))
torch.softmax(s, dim=-1)[:, 0].sum().backward()
print(q.grad)
---
torch.set_printoptions(sci_mode=False)
print(torch.tensor([1e-5, 1.0, 1000.0]))
torch.set_printoptions(profile="default")
---
torch.set_printoptions(precision=2)
print(torch.tensor([3.14159, 2.71828]))
torch.set_printoptions(profile="default")
---
w = torch.tensor([1.0, 2.0], requires_grad=True)
print(torch.autograd.grad((w ** 2).sum(), w))
print(w.grad)
---
with torch.no_grad():
    w = torch.tensor([1.0], requires_grad=True) * 2
print(w)
print(w.requires_grad)
---
w = torch.nn.Parameter(torch.zeros(3, 2))
torch.manual_seed(1)
torch.nn.init.kaiming_uniform_(w, a=5 ** 0.5)
print(w)
torch.nn.init.xavier_uniform_(w)
print(w)
---
torch.manual_seed(123)
logits = torch.tensor([4.51, 0.89, -1.9, 6.75, 1.63, -1.62, -1.89, 6.28, 1.79])
p = torch.softmax(logits, dim=0)
print(torch.bincount(torch.tensor([torch.multinomial(p, num_samples=1).item() for i in range(1000)])))
---
m = torch.nn.Linear(2, 1)
print(m.load_state_dict({"weight": torch.ones(1, 2), "bias": torch.zeros(1)}))
print(m.state_dict())
---
torch.manual_seed(123)
ds = torch.utils.data.TensorDataset(torch.arange(7), torch.arange(7.0))
for x, y in torch.utils.data.DataLoader(ds, batch_size=3, shuffle=True, num_workers=0):
    print(x, y)
---
class Pairs(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, i):
        return torch.tensor([i, i + 1]), i
print(next(iter(torch.utils.data.DataLoader(Pairs(), batch_size=2, drop_last=True))))
---
g = torch.Generator()
g.manual_seed(5)
print(torch.rand(2, generator=g))
---
w = torch.nn.Parameter(torch.ones(2))
o = torch.optim.AdamW([w], lr=0.1, weight_decay=0.1)
for _ in range(3):
    o.zero_grad()
    (w * torch.tensor([1.0, -2.0])).sum().backward()
    o.step()
print(w)
print(o.param_groups[0]["lr"])
---
w = torch.nn.Parameter(torch.ones(2))
o = torch.optim.SGD([w], lr=0.5)
(w * w).sum().backward()
o.step()
print(w)
---
w = torch.nn.Parameter(torch.zeros(2, 2))
w.grad = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
print(torch.nn.utils.clip_grad_norm_([w], max_norm=1.0))
print(w.grad)
---
m = torch.nn.Module()
m.register_buffer("mask", torch.triu(torch.ones(3, 3), diagonal=1))
print(m.mask.bool()[:2, :2])
print(list(m.state_dict()))
print([name for name, _ in torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU()).named_children()])
---
class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.query = torch.nn.Linear(2, 2)
        self.register_buffer("mask", torch.ones(2))
        self.register_buffer("cache", None, persistent=False)
        self.scale = torch.nn.Parameter(torch.ones(1))
m = torch.nn.Sequential(Attention(), torch.nn.Linear(1, 1))
m[0].mask, m[0].cache = torch.zeros(3), torch.zeros(4)
print(list(m.state_dict()))
print([(name, tuple(buffer.shape)) for name, buffer in m.named_buffers()])
---
w = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
(w * w).sum().backward()
print(isinstance(w.grad, torch.Tensor), isinstance(3, torch.Tensor))
print(w.grad, w.grad[0], w.grad.shape, w.grad.size(0), w.grad.view(3, 1), w.grad > 0, w.grad.any())
print(w.grad.sort(), w.grad.repeat(2), w.grad.max(dim=0), torch.norm(w.grad), torch.stack([w.grad, w.grad]))
with torch.no_grad():
    w -= 0.1 * w.grad
print(w)
---
w = torch.nn.Parameter(torch.ones(2, 2))
print(w.data, w.data.shape, w.data.size(0), isinstance(w.data, torch.Tensor))
w.data.copy_(torch.zeros(2, 2))
print(w)
w.data = torch.full((2, 2), 3.0)
(w * w).sum().backward()
w.data -= 0.1 * w.grad
w.data.add_(w.grad, alpha=-0.1)
print(w, w.data.norm(), torch.sum(w.data, dim=0), w.data.abs().mean(), w.data.t())
torch.manual_seed(1)
w.data.normal_(mean=0.0, std=0.02)
x = torch.tensor(w.data)
x[0] = 0
print(w.data, x)
---
w = torch.tensor([2.0, 3.0], requires_grad=True)
x = (w * 2).unsqueeze_(0)
x.squeeze_(0).cumprod(0).log2().sum().backward()
print(w.grad)
y = torch.zeros(2)
y.index_add_(0, torch.tensor([1, 1]), w * w)
print(y.detach())
---
w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
o = torch.optim.AdamW([w], lr=0.1, amsgrad=True)
for i in range(4):
    o.zero_grad()
    (w * w * (i - 1.5)).sum().backward()
    o.step()
print(w)
---
w = [torch.nn.Parameter(torch.ones(1))]
S = torch.optim.lr_scheduler
for make in [
    lambda o: S.StepLR(o, 2, 0.5),
    lambda o: S.ExponentialLR(o, 0.9),
    lambda o: S.CosineAnnealingLR(o, T_max=5, eta_min=0.01),
    lambda o: S.LinearLR(o, 0.1, total_iters=4),
    lambda o: S.LambdaLR(o, lr_lambda=lambda epoch: 0.95**epoch),
    lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=3), S.CosineAnnealingLR(o, 5)], milestones=[3]),
]:
    o = torch.optim.SGD(w, lr=0.1)
    s = make(o)
    for _ in range(7):
        print(f"{o.param_groups[0]['lr']:.6f}", end=" ")
        o.step()
        s.step()
    print(f"{s.get_last_lr()[0]:.6f}")
---
from_data = torch.utils.data
rows = from_data.TensorDataset(torch.arange(10))
torch.manual_seed(1)
train, rest = from_data.random_split(rows, [0.75, 0.25])
print(list(train.indices), list(rest.indices))
print([list(part.indices) for part in from_data.random_split(rows, [7, 3], torch.Generator().manual_seed(42))])
for sampler in (from_data.RandomSampler(rows), from_data.SequentialSampler(rows), [3, 1]):
    loader = from_data.DataLoader(rows, batch_size=4, sampler=sampler)
    print(len(loader), [batch[0].tolist() for batch in loader])
print(torch.rand(1))
---
torch.manual_seed(7)
print(torch.nn.init.xavier_normal_(torch.empty(4, 5), gain=2.0))
print(torch.nn.init.kaiming_normal_(torch.empty(4, 5), nonlinearity="relu"))
print(torch.nn.init.kaiming_normal_(torch.empty(4, 5), mode="fan_out"))
---
m = torch.nn.Module()
m.register_parameter("scale", torch.nn.Parameter(torch.ones(2)))
m.register_parameter("bias", None)
m.add_module("inner", torch.nn.Linear(2, 1, bias=False))
print([name for name, _ in m.named_parameters()], m.bias)
print([name for name, _ in m.named_children()])
print(m)
---
data = torch.utils.data
subset = data.Subset(data.TensorDataset(torch.arange(10)), [7, 2, 5])
print(len(subset), subset[1], subset.indices)
print([batch for batch in data.DataLoader(subset, batch_size=2)])
---
torch.manual_seed(3)
x = torch.empty(2, 3)
print(x.uniform_(-1, 1))
print(torch.rand_like(x), torch.randn_like(x))
---
q = torch.arange(12.0).reshape(1, 2, 3, 2) / 10
print(torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True))
"""


def printed(code: str, torch: Any) -> str:
    """What `code` prints when `torch` is the module given; an expression is printed by its repr."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if "print(" in code:
            exec(code, {"torch": torch, "__name__": "snippet"})
        else:
            print(repr(eval(code, {"torch": torch})))
    return output.getvalue()


CODES = [line for line in EXPRESSIONS.splitlines() if line] + [code.strip() for code in PROGRAMS.split("---\n")]

if __name__ == "__main__":
    import torch

    PRINTED.write_text(json.dumps({code: printed(code, torch) for code in CODES}, indent=1) + "\n", "utf-8")
