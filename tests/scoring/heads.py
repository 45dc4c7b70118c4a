"""Small heads with adapters, and the oracle of their values: everything at once, from log_softmax."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

peft = pytest.importorskip("peft")
T, D, V = 6, 5, 23


class Tiny(nn.Module):
    """The least model that peft puts an adapter on the output layer of."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.lm_head = nn.Linear(D, V, bias=bias).double()

    def forward(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden)


def with_adapter(with_bias: bool = False, **options) -> nn.Module:
    torch.manual_seed(5)
    model = peft.get_peft_model(
        Tiny(with_bias), peft.LoraConfig(r=2, lora_alpha=3, target_modules=["lm_head"], **options)
    )
    head = model.base_model.model.lm_head.double()
    for parameter in [*head.lora_A.parameters(), *head.lora_B.parameters()]:
        nn.init.normal_(parameter, std=0.5)
    return model


def inputs(seed: int = 0, tokens: int = T) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(tokens, D, dtype=torch.float64, requires_grad=True), torch.randint(0, V, (tokens,))


def plain(z: Tensor, targets: Tensor, names: tuple[str, ...], ref_z: Tensor | None = None) -> list[Tensor]:
    """The oracle: everything at once, from log_softmax."""
    log_p = torch.log_softmax(z, 1)
    found = {"logp": log_p[torch.arange(len(targets)), targets]}
    found |= {"entropy": -(log_p.exp() * log_p).sum(1), "sum_sq": log_p.exp().square().sum(1)}
    if ref_z is not None:
        log_q = torch.log_softmax(ref_z, 1)
        found["kl_ref"] = (log_q.exp() * (log_q - log_p)).sum(1)
    return [found[name] for name in names]


def gradients(values: list[Tensor], sources: list[Tensor]) -> list[Tensor]:
    """Of one fixed random combination of the values."""
    generator = torch.Generator().manual_seed(9)
    total = sum((v * torch.randn(len(v), generator=generator, dtype=torch.float64).to(v.dtype)).sum() for v in values)
    return torch.autograd.grad(total, sources)


def assert_agree(got, expected: list[Tensor], names: tuple[str, ...], sources: list[Tensor]) -> None:
    found = [getattr(got, name) for name in names]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    if sources:
        for a, b in zip(gradients(found, sources), gradients(expected, sources), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def shaped(z: Tensor, scale: float, softcap: float | None, temperature: float) -> Tensor:
    return (scale * z if softcap is None else softcap * torch.tanh(scale * z / softcap)) / temperature


SHAPES = [(1.0, None, 1.0), (0.3, None, 1.7), (1.0, 2.0, 1.0), (0.6, 2.0, 0.7)]
MEMORY = [(1, 0), (7, 60), (50, 0), (50, 60), (T * V, 0), (T * V, T * V)]
