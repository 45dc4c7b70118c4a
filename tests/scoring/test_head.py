from __future__ import annotations

import itertools

import pytest
import torch
from heads import MEMORY, SHAPES, D, T, Tiny, V, assert_agree, gradients, inputs, peft, plain, shaped, with_adapter
from torch import nn

from assent.scoring.head import EXTRAS, HeadOptions, LinearHead, head_values, linear_head


@pytest.mark.parametrize("wanted", [(), ("entropy",), ("sum_sq",), ("kl_ref",), EXTRAS], ids=str)
@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_values_and_gradients_are_those_of_log_softmax(wanted, frozen, bias):
    hidden, targets = inputs()
    head, other = nn.Linear(D, V, bias=bias).double(), nn.Linear(D, V).double()
    head.requires_grad_(not frozen)
    ref_hidden = torch.randn(T, D, dtype=torch.float64)
    names = ("logp", *wanted)
    sources = [hidden, *(p for p in head.parameters() if p.requires_grad)]
    for (scale, softcap, temperature), (chunk, keep) in itertools.product(SHAPES, MEMORY):
        z, ref_z = (shaped(m(h), scale, softcap, temperature) for m, h in ((head, hidden), (other, ref_hidden)))
        options = HeadOptions(chunk, keep, temperature)
        got = head_values(
            head, hidden, targets, wanted=wanted, softcap=softcap, scale=scale, options=options, ref=(other, ref_hidden)
        )
        assert_agree(got, plain(z, targets, names, ref_z), names, sources)
        assert [n for n in ("logp", *EXTRAS) if getattr(got, n) is not None] == ["logp", *sorted(wanted)]


@pytest.mark.parametrize("name", ["logp", *EXTRAS])
@pytest.mark.parametrize("keep", [0, 21])
def test_each_value_passes_gradcheck(name, keep):
    torch.manual_seed(1)
    hidden, targets = torch.randn(3, 2, dtype=torch.float64, requires_grad=True), torch.tensor([0, 6, 3])
    head, other = nn.Linear(2, 7).double(), nn.Linear(2, 7).double()

    ref = (other, hidden.detach() + 1)
    wanted = () if name == "logp" else (name,)
    options = HeadOptions(6, keep, 0.8)

    def value(hidden, weight, bias):
        head.weight, head.bias = weight, bias
        values = head_values(head, hidden, targets, wanted=wanted, softcap=2.5, scale=1.3, options=options, ref=ref)
        return getattr(values, name)

    weight, bias = (p.detach().clone().requires_grad_() for p in (head.weight, head.bias))
    del head.weight, head.bias  # plain tensors take their place
    assert torch.autograd.gradcheck(value, (hidden, weight, bias))


def test_two_tokens_by_hand():
    head = nn.Linear(1, 2, bias=False).double()
    head.weight.data = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    hidden = torch.log(torch.tensor([[3.0], [1.0]], dtype=torch.float64))  # probabilities 3/4, 1/4 and 1/2, 1/2
    got = head_values(head, hidden, torch.tensor([0, 1]), wanted=EXTRAS, ref=(head, hidden.flip(0)))
    torch.testing.assert_close(got.logp, torch.tensor([-0.2876820724517809, -0.6931471805599453]).double())
    torch.testing.assert_close(got.entropy, torch.tensor([0.5623351446188083, 0.6931471805599453]).double())
    torch.testing.assert_close(got.sum_sq, torch.tensor([0.625, 0.5]).double())
    torch.testing.assert_close(got.kl_ref, torch.tensor([0.14384103622589042, 0.13081203594113694]).double())


def test_gradients_of_a_tied_embedding_add_up():
    torch.manual_seed(0)
    embedding, head = nn.Embedding(V, D).double(), nn.Linear(D, V, bias=False).double()
    head.weight = embedding.weight
    ids, targets = torch.randint(0, V, (2, T))
    names = ("logp", "entropy")
    got = head_values(head, embedding(ids), targets, wanted=["entropy"], options=HeadOptions(7, 0))
    assert_agree(got, plain(embedding(ids) @ embedding.weight.t(), targets, names), names, [embedding.weight])


@pytest.mark.parametrize("base_trained", [False, True], ids=["base frozen", "base trained"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_a_lora_on_the_head_runs_in_tiles(base_trained, bias):
    model = with_adapter(bias)
    head = model.base_model.model.lm_head
    for parameter in head.base_layer.parameters():
        parameter.requires_grad_(base_trained)
    hidden, targets = inputs()
    other, names = nn.Linear(D, V).double(), ("logp", "entropy", "kl_ref", "sum_sq")
    assert linear_head(head).lora_b is head.lora_B["default"]
    sources = [hidden, *(p for p in head.parameters() if p.requires_grad)]
    assert len(sources) == 3 + (1 + bias if base_trained else 0)
    for chunk, keep in ((1, 0), (50, 60), (T * V, T * V)):
        ref = (other, hidden.detach())
        got = head_values(head, hidden, targets, wanted=names[1:], options=HeadOptions(chunk, keep), ref=ref)
        weight = (
            head.base_layer.weight + 1.5 * head.lora_B["default"].weight @ head.lora_A["default"].weight
        )  # alpha / r
        merged = nn.functional.linear(hidden, weight, head.base_layer.bias)
        assert_agree(got, plain(merged, targets, names, other(hidden.detach())), names, sources)


def test_states_of_an_adapter_are_told_apart():
    model = with_adapter()
    head, (hidden, targets) = model.base_model.model.lm_head, inputs()
    with model.disable_adapter():
        base = linear_head(head)
    assert base == LinearHead((head,), head.base_layer)
    got = head_values(head, hidden, targets, wanted=["kl_ref"], ref=(base, hidden))
    ref_z = head.base_layer(hidden).detach()
    assert_agree(got, plain(head(hidden), targets, ("logp", "kl_ref"), ref_z), ("logp", "kl_ref"), [hidden])
    with model.disable_adapter():
        assert_agree(head_values(head, hidden, targets), plain(ref_z, targets, ("logp",)), ("logp",), [])
    before = head(hidden).detach()
    model.merge_adapter()
    assert linear_head(head).lora_b is None
    assert_agree(head_values(head, hidden, targets), plain(before, targets, ("logp",)), ("logp",), [])


def other_heads() -> dict[str, nn.Module]:
    dora = with_adapter(use_dora=True)
    two = with_adapter()
    two.add_adapter("second", peft.LoraConfig(r=1, target_modules=["lm_head"]))
    two.base_model.set_adapter(["default", "second"])
    two.double()
    nn.init.normal_(two.base_model.model.lm_head.lora_B["second"].weight)
    lora_bias = with_adapter(True, lora_bias=True)
    heads = {"dora": dora, "two adapters": two, "bias of an adapter": lora_bias}
    heads = {name: model.base_model.model.lm_head for name, model in heads.items()}
    return heads | {"another class": nn.Sequential(nn.Linear(D, D), nn.GELU(), nn.Linear(D, V)).double()}


@pytest.mark.parametrize("name", ["dora", "two adapters", "bias of an adapter", "another class"])
def test_any_other_head_runs_in_checkpointed_chunks(name):
    head, (hidden, targets) = other_heads()[name], inputs()
    assert linear_head(head) is None
    ref, names = nn.Linear(D, V).double(), ("logp", "entropy", "kl_ref")
    sources = [hidden, *(p for p in head.parameters() if p.requires_grad)]
    for chunk in (1, 2 * V, T * V):
        got = head_values(
            head, hidden, targets, wanted=names[1:], softcap=2.0, scale=0.7, options=HeadOptions(chunk, 0, 1.2),
            ref=(ref, hidden),
        )  # fmt: skip
        z, ref_z = (shaped(m(hidden), 0.7, 2.0, 1.2) for m in (head, ref))
        assert_agree(got, plain(z, targets, names, ref_z.detach()), names, sources)


def test_dropout_of_an_adapter_is_drawn_once():
    model = with_adapter(lora_dropout=0.5).train()
    head, (hidden, targets) = model.base_model.model.lm_head, inputs()
    assert linear_head(head) is None
    torch.manual_seed(3)
    got = head_values(head, hidden, targets)
    torch.manual_seed(3)
    expected = plain(head(hidden), targets, ("logp",))
    torch.manual_seed(4)  # the backward draws what the forward drew, whatever came between
    assert_agree(got, expected, ("logp",), [hidden, head.lora_B["default"].weight])
    model.eval()
    assert linear_head(head) is not None


def test_a_head_trained_whole_beside_an_adapter():
    class Two(Tiny):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(D, D)

    config = peft.LoraConfig(r=2, target_modules=["body"], modules_to_save=["lm_head"])
    model = peft.get_peft_model(Two(), config)
    head, (hidden, targets) = model.base_model.model.lm_head, inputs()
    weight = head.modules_to_save["default"].weight
    weight.data.add_(1)
    assert linear_head(head).linear is head.modules_to_save["default"]
    assert_agree(
        head_values(head, hidden, targets), plain(head(hidden), targets, ("logp",)), ("logp",), [hidden, weight]
    )
    with model.disable_adapter():
        assert linear_head(head).linear is head.original_module


def test_hooks_of_every_module_that_owns_a_weight_fire():
    head, (hidden, targets) = with_adapter().base_model.model.lm_head, inputs()
    seen = []
    owners = {"head": head, "base": head.base_layer, "A": head.lora_A["default"], "B": head.lora_B["default"]}
    for name, module in owners.items():
        module.register_forward_pre_hook(lambda *_, n=name: seen.append((n, "before")))
        module.register_forward_hook(lambda _m, _i, out, n=name: seen.append((n, type(out).__name__)))
        module.register_full_backward_pre_hook(lambda *_, n=name: seen.append((n, "backward")))
    got = head_values(head, hidden, targets, wanted=["entropy"])
    assert [n for n, kind in seen if kind == "before"] == ["head", "A", "B", "base"]
    assert ("head", "tuple") in seen and ("base", "tuple") in seen
    (got.logp.sum() + got.entropy.sum()).backward()
    assert {n for n, kind in seen if kind == "backward"} == set(owners)
    assert not any("forward" in vars(module) for module in owners.values())


def test_weights_may_be_away_between_forward_and_backward():
    """As with sharded parameters: gathered by hooks of the module, and another storage by the time of the backward."""
    head, (hidden, targets) = nn.Linear(D, V).double(), inputs()
    expected = gradients(plain(head(hidden), targets, ("logp", "entropy")), [hidden, head.weight])
    full, gathered = head.weight.detach().clone(), []

    def gather(*_):
        head.weight.data = full.clone()
        gathered.append(1)

    def release(*_):
        head.weight.data = torch.empty(0, dtype=torch.float64)

    release()
    head.register_forward_pre_hook(gather)
    head.register_forward_hook(release)
    head.register_full_backward_pre_hook(gather)
    got = head_values(head, hidden, targets, wanted=["entropy"], options=HeadOptions(7, 0))
    assert head.weight.numel() == 0 and len(gathered) == 1
    for a, b in zip(gradients([got.logp, got.entropy], [hidden, head.weight]), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert len(gathered) == 2


@pytest.fixture
def one_rank():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("lora", [False, True], ids=["", "lora"])
def test_sharded_heads_run_in_tiles(one_rank, lora):
    from torch.distributed.fsdp import fully_shard

    head = with_adapter().base_model.model.lm_head if lora else nn.Linear(D, V).double()
    hidden, targets = inputs()
    names, whole = ("logp", "entropy"), [hidden, *(p for p in head.parameters() if p.requires_grad)]
    expected = gradients(plain(head(hidden), targets, names), whole)
    for module in [m for m in head.modules() if isinstance(m, nn.Linear)] + [head] * lora:
        fully_shard(module, mesh=torch.distributed.init_device_mesh("cpu", (1,)))
    assert linear_head(head) is not None and type(head).__name__ == "FSDPLinear"
    got = head_values(head, hidden, targets, wanted=["entropy"], options=HeadOptions(7, 0))
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(T, generator=generator, dtype=torch.float64) for _ in names]
    ((got.logp * weights[0]).sum() + (got.entropy * weights[1]).sum()).backward()
    found = [hidden.grad, *(p.grad.full_tensor() for p in head.parameters() if p.requires_grad)]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_forward_is_given_back_after_an_error():
    head, (hidden, targets) = nn.Linear(D + 1, V).double(), inputs()
    with pytest.raises(RuntimeError):
        head_values(head, hidden, targets)
    assert "forward" not in vars(head)
