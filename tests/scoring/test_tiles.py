from __future__ import annotations

import pytest
import torch
from heads import D, T, V, gradients, inputs, with_adapter
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from assent.errors import AssentError
from assent.scoring.head import EXTRAS, HeadOptions, head_values


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements, self.products = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(x.numel() for x in tree_leaves(out) if isinstance(x, Tensor))])
        self.products += "mm" in function.__name__
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["trained", "frozen", "other"])
def test_no_tensor_is_larger_than_a_chunk(kind, dtype):
    tokens, width, vocabulary, chunk = 64, 4, 1000, 5000
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width, dtype=dtype, requires_grad=True)
    head = nn.Linear(width, vocabulary, dtype=dtype).requires_grad_(kind != "frozen")
    if kind == "other":
        head = nn.Sequential(head)
    targets = torch.randint(0, vocabulary, (tokens,))
    wanted = () if kind == "frozen" else EXTRAS
    with Largest() as largest:
        ref = (nn.Linear(width, vocabulary, dtype=dtype), hidden)
        got = head_values(head, hidden, targets, wanted=wanted, softcap=3.0, options=HeadOptions(chunk, 0), ref=ref)
        sum(value.sum() for value in got if value is not None).backward()
    assert largest.elements <= chunk < tokens * vocabulary
    with Largest() as largest:
        head_values(head, hidden, targets, options=HeadOptions(tokens * vocabulary, 0))
    assert largest.elements == tokens * vocabulary  # the measure sees it


def test_products_are_spared_where_nothing_needs_them():
    hidden, targets = inputs()
    head = nn.Linear(D, V).double()

    def products(frozen: bool, keep: int) -> int:
        head.requires_grad_(not frozen)
        with Largest() as counted:
            head_values(head, hidden, targets, options=HeadOptions(T * V, keep)).logp.sum().backward()
        return counted.products

    assert products(frozen=False, keep=0) == 4  # logits, logits again, two gradients
    assert products(frozen=False, keep=T * V) == 3
    assert products(frozen=True, keep=0) == 2  # the gradient is made in the forward
    with torch.no_grad():
        assert products_without_grad(head, hidden, targets) == 1


def products_without_grad(head: nn.Module, hidden: Tensor, targets: Tensor) -> int:
    with Largest() as counted:
        head_values(head, hidden, targets)
    return counted.products


@pytest.mark.parametrize("how", ["bfloat16", "autocast"])
def test_half_precision_is_within_its_rounding_of_float32(how):
    """bfloat16 rounds logits to 2^-9 of themselves and their operands alike; values move by a few of that."""
    torch.manual_seed(0)
    hidden, targets = torch.randn(40, 64, requires_grad=True), torch.randint(0, 300, (40,))
    head = nn.Linear(64, 300)
    exact = head_values(head, hidden, targets, wanted=EXTRAS, ref=(head, hidden + 1))
    wanted_gradients = gradients(list(exact), [hidden, head.weight, head.bias])
    for chunk in (4000, 40 * 300):
        options = HeadOptions(chunk, 6000)
        if how == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                got = head_values(head, hidden, targets, wanted=EXTRAS, options=options, ref=(head, hidden + 1))
            sources = [hidden, head.weight, head.bias]
        else:
            half = nn.Linear(64, 300, dtype=torch.bfloat16)
            half.load_state_dict(head.state_dict())
            half_hidden = hidden.detach().bfloat16().requires_grad_()
            ref = (half, half_hidden + 1)
            got = head_values(half, half_hidden, targets, wanted=EXTRAS, options=options, ref=ref)
            sources = [half_hidden, half.weight, half.bias]
        largest = head(hidden).abs().max().item()
        for a, b in zip(got, exact, strict=True):
            assert a.dtype == torch.float32 and (a - b).abs().max() <= 2**-7 * largest
        for a, b, source in zip(gradients(list(got), sources), wanted_gradients, sources, strict=True):
            assert a.dtype == source.dtype and (a - b).abs().max() <= 0.02 * b.abs().max()


@pytest.mark.parametrize("kind", ["linear", "frozen", "lora", "other"])
def test_no_token_gives_zero_gradients(kind):
    head = {
        "linear": lambda: nn.Linear(D, V).double(),
        "frozen": lambda: nn.Linear(D, V).double().requires_grad_(False),
        "lora": lambda: with_adapter().base_model.model.lm_head,
        "other": lambda: nn.Sequential(nn.Linear(D, V)).double(),
    }[kind]()
    hidden, targets = inputs(tokens=0)
    wanted = () if kind == "frozen" else EXTRAS
    got = head_values(head, hidden, targets, wanted=wanted, ref=(nn.Linear(D, V).double(), hidden))
    sum(value.sum() for value in got if value is not None).backward()
    sources = [hidden, *(p for p in head.parameters() if p.requires_grad)]
    assert got.logp.shape == (0,) and all(s.grad.shape == s.shape and not s.grad.any() for s in sources)


def test_logits_far_apart_stay_finite():
    head = nn.Linear(1, 3, bias=False)
    head.weight.data = torch.tensor([[1.0], [-1.0], [0.0]])
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    got = head_values(head, hidden, torch.tensor([0, 0]), wanted=EXTRAS, options=HeadOptions(1, 0), ref=(head, hidden))
    torch.testing.assert_close(got.logp, torch.tensor([0.0, -2e4]))
    assert all(value.isfinite().all() for value in got) and not got.kl_ref.any()
    (found,) = torch.autograd.grad(sum(value.sum() for value in got), hidden)
    torch.testing.assert_close(found, torch.tensor([[0.0], [2.0]]))


def test_a_target_outside_the_vocabulary_is_not_a_number():
    hidden, _ = inputs()
    got = head_values(nn.Linear(D, V).double(), hidden, torch.tensor([0, V, -100, 1, 2, 3]))
    assert got.logp.isnan().tolist() == [False, True, True, False, False, False]


def test_mistakes_are_told_in_a_sentence():
    head, (hidden, targets) = nn.Linear(D, V).double(), inputs()
    with pytest.raises(AssentError, match="asked for 'entropie'; expected some of entropy, kl_ref, sum_sq"):
        head_values(head, hidden, targets, wanted=["entropie"])
    with pytest.raises(AssentError, match=r"kl_ref without a reference; pass ref=\(head, hidden\)"):
        head_values(head, hidden, targets, wanted=["kl_ref"])
    with pytest.raises(AssentError, match=r"hidden states \(6, 5\) and targets \(5,\); expected"):
        head_values(head, hidden, targets[1:])
    with pytest.raises(AssentError, match="temperature of the head is 0"):
        HeadOptions(temperature=0)
    with pytest.raises(AssentError, match="are 0 and 5; expected at least 1 and at least 0"):
        HeadOptions(0, 5)
