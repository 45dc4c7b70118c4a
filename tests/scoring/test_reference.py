from __future__ import annotations

import copy

import pytest
import torch
from tiny import Row, oracle, pair_rows, tiny_model

from assent.errors import AssentError
from assent.objectives.base import Need
from assent.scoring import engine
from assent.scoring.causal_lm import CausalLMScorer, starting_margin
from assent.scoring.loading import load_policy
from assent.scoring.lora import LoraSpec, copy_adapter, drop_adapter, merge_adapter
from assent.scoring.reference import AdapterDisabled, CopiedAdapter, SecondModel, precompute

SPEC = LoraSpec(rank=2, alpha=8.0)
REFERENCE = {Need("reference")}


def move(model, seed=0):
    """One crude training step: every trainable weight gets noise."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def ref_logps(scorer, rows):
    scores = scorer.scores(rows, REFERENCE)
    return torch.stack([scores.chosen.ref_logp, scores.rejected.ref_logp])


def by_oracle(model, rows):
    return torch.stack(
        [torch.stack([oracle(model, getattr(r, s)).sum() for r in rows]) for s in ("chosen", "rejected")]
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A base on disk, and an adapter on disk that has moved away from it."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model("llama", torch.float64).save_pretrained(folder / "base")
    loaded = load_policy(folder / "base", lora=SPEC)
    move(loaded.model)
    loaded.model.save_pretrained(folder / "adapter")
    return folder


def merged_oracle(saved):
    """W + alpha / rank B A by hand, from the two files."""
    from safetensors.torch import load_file

    model = tiny_model("llama", torch.float64)
    weights = load_file(saved / "adapter" / "adapter_model.safetensors")
    for name, down in weights.items():
        if "lora_A" in name:
            up = weights[name.replace("lora_A", "lora_B")]
            module = model.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
            with torch.no_grad():
                module.weight += SPEC.alpha / SPEC.rank * up @ down
    return model


def test_fresh_lora_has_the_base_as_its_reference(saved):
    loaded, rows = load_policy(saved / "base", lora=SPEC), pair_rows(5)
    assert loaded.stage == "fresh" and loaded.adapter is None
    scorer = CausalLMScorer(loaded.model, loaded.live_reference())
    assert isinstance(scorer.reference, AdapterDisabled)
    assert starting_margin(scorer, rows) == 0.0
    move(loaded.model)
    assert starting_margin(scorer, rows) > 0.1
    expected = by_oracle(tiny_model("llama", torch.float64), rows)
    torch.testing.assert_close(ref_logps(scorer, rows), expected, rtol=0, atol=1e-10)
    trains = {n for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert trains and all("lora_" in n for n in trains)


def test_a_continued_adapter_has_its_own_start_as_reference_and_not_the_base(saved):
    loaded, rows = load_policy(saved / "adapter"), pair_rows(5)
    assert loaded.stage == "continued" and loaded.base == str(saved / "base")
    before = {n for n, p in loaded.model.named_parameters() if p.requires_grad}
    scorer = CausalLMScorer(loaded.model, loaded.live_reference())
    assert {n for n, p in loaded.model.named_parameters() if p.requires_grad} == before
    assert starting_margin(scorer, rows) == 0.0
    move(loaded.model, seed=3)
    assert starting_margin(scorer, rows) > 0.1
    expected = by_oracle(merged_oracle(saved), rows)
    torch.testing.assert_close(ref_logps(scorer, rows), expected, rtol=0, atol=1e-9)
    assert (expected - by_oracle(tiny_model("llama", torch.float64), rows)).abs().mean() > 1
    assert {n for n, p in loaded.model.named_parameters() if p.requires_grad} == before
    assert loaded.model.active_adapter == "default"


def test_gradients_pass_the_adapter_switch(saved):
    loaded, rows = load_policy(saved / "adapter"), pair_rows(3)
    plain = load_policy(saved / "adapter")
    for one, reference in ((loaded, loaded.live_reference()), (plain, SecondModel(merged_oracle(saved)))):
        one.model.train()
        CausalLMScorer(one.model, reference).scores(rows, REFERENCE).log_ratio_gap.sum().backward()
    theirs = dict(plain.model.named_parameters())
    compared = [n for n, p in loaded.model.named_parameters() if p.requires_grad]
    for name, parameter in loaded.model.named_parameters():
        if name in compared:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=0, atol=1e-9)
        else:
            assert parameter.grad is None
    assert len(compared) == sum(p.requires_grad for p in theirs.values())
    assert loaded.model.training


@pytest.mark.parametrize("stage", ["fresh", "continued"])
def test_modules_trained_whole_beside_the_adapter_are_part_of_the_right_reference(saved, tmp_path, stage):
    rows, spec = pair_rows(4), LoraSpec(rank=2, also_train=("embed_tokens", "lm_head"))
    loaded = load_policy(saved / "base", lora=spec)
    if stage == "continued":
        move(loaded.model, seed=6)
        loaded.model.save_pretrained(tmp_path / "adapter")
        loaded = load_policy(tmp_path / "adapter")
    start = precompute(loaded.model, rows)
    scorer = CausalLMScorer(loaded.model, loaded.live_reference())
    assert starting_margin(scorer, rows) == 0.0
    expected = ref_logps(CausalLMScorer(loaded.model, start), rows)
    move(loaded.model, seed=7)
    assert starting_margin(scorer, rows) > 0.1
    torch.testing.assert_close(ref_logps(scorer, rows), expected, rtol=0, atol=1e-9)


def test_merged_adapter_then_fresh_lora(saved):
    rows = pair_rows(5)
    loaded = load_policy(saved / "base", adapter=saved / "adapter", merge=True, lora=SPEC)
    assert loaded.stage == "fresh" and loaded.merged
    scorer = CausalLMScorer(loaded.model, loaded.live_reference())
    assert starting_margin(scorer, rows) == 0.0
    move(loaded.model, seed=4)
    expected = by_oracle(merged_oracle(saved), rows)
    torch.testing.assert_close(ref_logps(scorer, rows), expected, rtol=0, atol=1e-9)


def test_merging_gives_an_ordinary_model_with_the_same_numbers(saved, tmp_path):
    rows = pair_rows(4)
    merge_adapter(load_policy(saved / "adapter").model).save_pretrained(tmp_path / "merged")
    loaded = load_policy(tmp_path / "merged")
    assert loaded.stage == "full" and not hasattr(loaded.model, "peft_config")
    torch.testing.assert_close(by_oracle(loaded.model, rows), by_oracle(merged_oracle(saved), rows), rtol=0, atol=1e-9)


def test_all_weights_have_a_frozen_second_model(saved):
    loaded, rows = load_policy(saved / "base"), pair_rows(5)
    scorer = CausalLMScorer(loaded.model, loaded.live_reference())
    assert starting_margin(scorer, rows) == 0.0
    move(loaded.model)
    torch.testing.assert_close(
        ref_logps(scorer, rows), by_oracle(tiny_model("llama", torch.float64), rows), rtol=0, atol=1e-10
    )
    assert not any(p.requires_grad for p in scorer.reference.model.parameters())


@pytest.mark.parametrize("stage", ["full", "fresh", "continued", "merged"])
def test_precomputed_equals_the_live_reference_in_every_stage(saved, stage):
    rows = pair_rows(7, holes=True)
    options = {
        "full": {"name_or_path": saved / "base"},
        "fresh": {"name_or_path": saved / "base", "lora": SPEC},
        "continued": {"name_or_path": saved / "adapter"},
        "merged": {"name_or_path": saved / "adapter", "merge": True, "lora": SPEC},
    }[stage]
    loaded = load_policy(**options)
    table = precompute(loaded.model, rows, tokens_per_batch=40)
    live = loaded.live_reference()
    move(loaded.model)
    expected = ref_logps(CausalLMScorer(loaded.model, live), rows)
    torch.testing.assert_close(ref_logps(CausalLMScorer(loaded.model, table), rows[::-1]).flip(1), expected)
    assert table.nbytes == sum(int(s.mask.sum()) for r in rows for s in (r.chosen, r.rejected)) * 8 + 14 * 40
    again = precompute(loaded.model, rows, live, tokens_per_batch=40).values  # a copy in other memory: not bit for bit
    torch.testing.assert_close(again, table.values, rtol=0, atol=1e-12)


def test_trees_precompute_the_same_values_as_padding(saved):
    loaded, rows = load_policy(saved / "base", lora=SPEC), pair_rows(9, holes=True)
    rows += [Row(rows[0].chosen, rows[3].rejected), Row(rows[0].chosen, rows[0].chosen)]  # other prompts, and a twin
    move(loaded.model)
    plain = precompute(loaded.model, rows, tokens_per_batch=40)
    assert engine.prepare(loaded.model) == ""
    sequences = [s for row in rows for s in (row.chosen, row.rejected)]
    for reference in (None, AdapterDisabled()):
        expected = precompute(loaded.model, rows, reference, tokens_per_batch=40) if reference else plain
        packed = precompute(loaded.model, rows, reference, trees=True, tokens_per_batch=40)
        values = [t.keys.gather([t.values.numpy()], sequences, "missing") for t in (packed, expected)]
        torch.testing.assert_close(torch.tensor(values[0]), torch.tensor(values[1]), rtol=0, atol=1e-7)
    assert len(packed.keys) == 18 and not torch.equal(packed.values, plain.values)


def test_a_dropped_copy_leaves_an_ordinary_adapter(saved, tmp_path):
    model = copy_adapter(load_policy(saved / "adapter").model)
    drop_adapter(model)
    model.save_pretrained(tmp_path / "again")
    assert sorted(p.name for p in (tmp_path / "again").iterdir() if p.is_dir()) == []
    rows = pair_rows(3)
    again = by_oracle(load_policy(tmp_path / "again").model, rows)
    torch.testing.assert_close(again, by_oracle(merged_oracle(saved), rows), rtol=0, atol=1e-9)


def test_dropout_of_the_policy_does_not_reach_the_reference(saved):
    loaded = load_policy(saved / "base", lora=LoraSpec(rank=2, dropout=0.5))
    move(loaded.model)
    loaded.model.train()
    scorer, rows = CausalLMScorer(loaded.model, loaded.live_reference()), pair_rows(3)
    first, second = scorer.scores(rows, REFERENCE), scorer.scores(rows, REFERENCE)
    assert torch.equal(first.chosen.ref_logp, second.chosen.ref_logp)
    assert not torch.equal(first.chosen.logp, second.chosen.logp)


def test_tables_refuse_unknown_rows_and_whole_distributions():
    model = tiny_model()
    table = precompute(model, pair_rows(2))
    scorer = CausalLMScorer(model, table)
    assert "kl_ref" not in scorer.provides and "reference" in scorer.provides
    with pytest.raises(AssentError, match="no precomputed reference"):
        scorer.scores(pair_rows(2, seed=8))
    with pytest.raises(AssentError, match="no next-token distributions"):
        scorer.scores(pair_rows(2), {Need("kl_ref")})


def test_the_base_of_a_model_without_adapter_is_refused():
    with pytest.raises(AssentError, match="the policy has no adapter"):
        CausalLMScorer(tiny_model(), AdapterDisabled()).scores(pair_rows(1))


def test_precomputation_tells_its_progress():
    seen = []
    precompute(tiny_model(), pair_rows(4), tokens_per_batch=30, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8) and len(seen) > 1


def test_a_copied_adapter_is_named_for_the_card(saved):
    loaded = load_policy(saved / "adapter")
    reference = loaded.live_reference()
    assert isinstance(reference, CopiedAdapter) and "frozen copy" in reference.name
    assert copy.copy(reference) == reference
