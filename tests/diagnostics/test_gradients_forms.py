"""The forms of the inner products agree on real model classes, with adapters, ties, preconditioning and directions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import exact_model, scorer_for, small_model, token_pairs

from assent import parse
from assent.diagnostics import ghost, gradients_last, gradients_layers, gradients_loop, gradients_vmap
from assent.diagnostics.ghost import Tokens, Whole
from assent.diagnostics.gradients import entanglement
from assent.errors import AssentError


def _named(model: Any, seed: int, positive: bool = False) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {n: torch.randn(p.shape, generator=generator).to(p) for n, p in gradients_loop.trainable(model).items()}
    return {n: x.abs() + 0.1 if positive else x for n, x in found.items()}


def _differ(form: Any, model: Any, rows: Any, **given: Any) -> float:
    """Largest difference from the loop, relative to the norms that it belongs to."""
    true, found = gradients_loop.grams(model, rows, 0, **given), form.grams(model, rows, 0, **given)
    norms = true.gram.diagonal(dim1=1, dim2=2).sqrt()
    off = ((found.gram - true.gram).abs() / (norms[:, :, None] * norms[:, None])).max()
    if true.along is not None:
        size = sum(float((d * given.get("factors", {}).get(n, torch.ones(()))).double().square().sum())
                   for n, d in given["direction"].items()) ** 0.5  # fmt: skip
        off = max(off, ((found.along - true.along).abs() / (norms * size)).max())
    return float(off)


def _adapted(**spec: Any) -> Any:
    from assent.scoring.lora import LoraSpec, fresh_adapter

    model = fresh_adapter(small_model(), LoraSpec(rank=3, **spec))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:  # at 0, the start of training, half of the gradients are 0
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    return model


MODELS = {
    "llama": small_model,
    "llama, float64": lambda: small_model(dtype="float64"),
    "gpt2, tied": exact_model,
    "gpt2": lambda: exact_model(tied=False),
    "lora": _adapted,
    "lora and output layer": lambda: _adapted(also_train=["lm_head"]),
}


@pytest.mark.parametrize("form", [gradients_layers, gradients_vmap], ids=["layers", "vmap"])
@pytest.mark.parametrize("name", MODELS)
def test_layers_and_vmap_give_what_the_loop_gives(name: str, form: Any) -> None:
    model, rows = MODELS[name]().eval(), token_pairs(4)
    exact = next(model.parameters()).dtype == torch.float64
    limit = 1e-12 if exact else 1e-5
    factors, direction = _named(model, 1, positive=True), _named(model, 2)
    if form is gradients_layers:
        gradients_layers._try(model, rows[0], 0)  # not the loop under another name
    assert _differ(form, model, rows) < limit
    assert _differ(form, model, rows, direction=direction) < limit
    assert _differ(form, model, rows, factors=factors, direction=direction) < limit


@pytest.mark.parametrize("config", ["GPTNeoX", "Gemma3Text", "Qwen3", "Phi3", "OPT"])
def test_layers_of_other_families(config: str) -> None:
    import transformers

    torch.manual_seed(0)
    settings = {"vocab_size": 45, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                "num_attention_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    if config in ("Gemma3Text", "Qwen3"):
        settings |= {"num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True}
    if config == "OPT":  # its keys have a bias that changes nothing
        settings |= {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}
    made = getattr(transformers, config + "Config")(**settings)
    model, rows = transformers.AutoModelForCausalLM.from_config(made).eval(), token_pairs(3)
    if config == "OPT":  # learned positions with an offset are left to the loop
        with pytest.raises(gradients_layers.Unsuited, match="PositionalEmbedding"):
            gradients_layers._try(model, rows[0], 0)
        model.model.decoder.embed_positions.requires_grad_(False)
    gradients_layers._try(model, rows[0], 0)
    assert _differ(gradients_layers, model, rows) < 1e-5


def test_a_mixture_of_experts_goes_by_the_loop() -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=45, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model, rows = transformers.MixtralForCausalLM(config).eval(), token_pairs(2)
    with pytest.raises(gradients_layers.Unsuited):
        gradients_layers._try(model, rows[0], 0)
    assert _differ(gradients_layers, model, rows) == 0.0


def test_a_parameter_that_is_read_past_its_layer_is_noticed() -> None:
    model, rows = small_model().eval(), token_pairs(2)
    layer = model.model.layers[0].mlp.down_proj
    layer.forward = lambda x: x @ (layer.weight + layer.weight.flip(0)).T  # the layer tells half of it
    with pytest.raises(gradients_layers.Unsuited, match=r"layers\.0\.mlp\.down_proj\.weight"):
        gradients_layers._try(model, rows[0], 0)
    assert _differ(gradients_layers, model, rows) == 0.0


def test_products_of_tokens_are_those_of_gradients() -> None:
    # three uses of one weight [9, 7], one of them an embedding: G = sum of b^T a, counted out
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    uses = [Tokens(normal(5, 2, 3, 7), normal(5, 2, 3, 9)), Tokens(normal(5, 2, 2, 7), normal(5, 2, 2, 9)),
            Tokens(normal(5, 2, 4, 7), torch.randint(9, (5, 2, 4), generator=generator))]  # fmt: skip
    dense = sum(torch.einsum("psto,psti->psoi", use.b, use.a) for use in uses[:2])
    for p, s, t in torch.cartesian_prod(torch.arange(5), torch.arange(2), torch.arange(4)).tolist():
        dense[p, s, uses[2].b[p, s, t]] += uses[2].a[p, s, t]
    towards, shape = normal(9, 7), torch.Size([9, 7])
    expected = torch.einsum("psoi,pqoi->psq", dense, dense)
    for found in (ghost._by_tokens(uses, shape, None, towards), ghost._by_gradients(uses, shape, None, towards)):
        torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[1], torch.einsum("psoi,oi->ps", dense, towards), rtol=1e-12, atol=1e-12)
    whole = ghost.gram([Whole(dense)], shape)
    torch.testing.assert_close(whole[0], expected, rtol=1e-12, atol=1e-12)
    assert whole[1] is None


def test_float32_keeps_its_digits_over_a_large_weight() -> None:
    x = torch.rand(2, 800_001, generator=torch.Generator().manual_seed(0)) + 0.5
    true = x.double() @ x.double().T
    assert ((ghost.inner(x, x) - true).abs() / true).max().item() < 2e-6  # at once: off by 1e-4


def test_the_cheaper_of_tokens_and_gradients_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for name in ("_by_tokens", "_by_gradients"):
        real = getattr(ghost, name)
        monkeypatch.setattr(ghost, name, lambda *a, name=name, real=real: (taken.append(name), real(*a))[1])
    few, many = (Tokens(torch.ones(1, 2, t, 64), torch.ones(1, 2, t, 64)) for t in (3, 40))
    for use in (few, many):
        ghost.gram([use], torch.Size([64, 64]))
    assert taken == ["_by_tokens", "_by_gradients"]  # 2 T (o + i) against o i: 768 and 10,240 against 4,096


@pytest.mark.parametrize("make", [small_model, lambda: exact_model(tied=False)], ids=["llama", "gpt2"])
def test_the_last_layer_is_the_output_matrix_alone(make: Any) -> None:
    model, rows, dpo = make(), token_pairs(4), parse("dpo()")
    scorer = scorer_for(model, rows, dpo)
    last = entanglement(scorer, rows, dpo, form="last_layer")
    model.requires_grad_(False).lm_head.weight.requires_grad_(True)
    true = entanglement(scorer, rows, dpo, form="loop")
    for name in ("inner", "chosen_sq", "rejected_sq"):
        torch.testing.assert_close(getattr(last.products, name), getattr(true.products, name), rtol=1e-5, atol=1e-5)
    with pytest.raises(AssentError, match="preconditioned product"):
        entanglement(scorer, rows, dpo, form="last_layer", preconditioned=_named(model, 1, positive=True))


def test_the_last_layer_follows_caps_and_scales_of_the_logits() -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=45, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, head_dim=8,
        num_key_value_heads=2, pad_token_id=0, final_logit_softcapping=0.5, tie_word_embeddings=False,
    )  # fmt: skip
    model, rows = transformers.Gemma2ForCausalLM(config).eval(), token_pairs(2)
    model.requires_grad_(False).lm_head.weight.requires_grad_(True)
    true = gradients_loop.grams(model, rows, 0).gram
    torch.testing.assert_close(gradients_last.grams(model, rows, 0).gram, true, rtol=1e-5, atol=1e-6)
    assert float(true[0, 0, 0]) > 0


def test_single_tokens_at_the_output_matrix_to_the_sheet() -> None:
    # one counted token a side: ip = |h|^2 (|pi|^2 - pi_w - pi_l), |g_w|^2 - ip = |h|^2 (1 - pi_w + pi_l)
    from dataclasses import replace

    model = exact_model(tied=False).eval()
    row = token_pairs(1)[0]
    prompt = row.chosen.ids[:3]
    sides = []
    for token in (7, 11):
        ids = torch.tensor([*prompt, token], dtype=torch.int32).numpy()
        sides.append(replace(row.chosen, ids=ids, prompt_length=3, mask=torch.arange(4).eq(3).numpy()))
    row = replace(row, chosen=sides[0], rejected=sides[1])
    with torch.no_grad():
        out = model(input_ids=torch.as_tensor(prompt)[None].long(), output_hidden_states=True)
    pi, h2 = out.logits[0, -1].softmax(0), out.hidden_states[-1][0, -1].square().sum()
    for form in (gradients_last, gradients_layers, gradients_loop, gradients_vmap):
        model.requires_grad_(False).lm_head.weight.requires_grad_(True)
        found = form.grams(model, [row], 0).products
        assert found.inner.item() == pytest.approx((h2 * (pi.square().sum() - pi[7] - pi[11])).item(), rel=1e-12)
        for one, other, square in ((7, 11, found.chosen_sq), (11, 7, found.rejected_sq)):
            gap = (square - found.inner).item()
            assert gap == pytest.approx((h2 * (1 - pi[one] + pi[other])).item(), rel=1e-12)
        assert found.cases() == ["ideal"]


def test_modes_and_gradients_of_the_model_stay_as_they_were() -> None:
    model, rows, dpo = small_model().train(), token_pairs(2), parse("dpo()")
    scorer = scorer_for(model, rows, dpo)
    for form in ("exact", "vmap", "loop", "last_layer"):
        with torch.no_grad():
            assert len(entanglement(scorer, rows, dpo, form=form)) == 2
    assert model.training and all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
