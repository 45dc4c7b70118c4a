from __future__ import annotations

import torch
from tiny import pair_rows, tiny_model
from torch import nn

from assent.scoring.batch import collate
from assent.scoring.forward import evaluating, kept_logits, token_values, unwrap


class Wrapped(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, **inputs):
        return self.module(**inputs)


class WithoutCut(nn.Module):
    """A model that always gives the logits of every place."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, use_cache):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)


def test_logits_are_cut_before_the_output_layer_where_the_model_can():
    model, rows = tiny_model(), pair_rows(4)
    batch = collate([row.chosen for row in rows], 0)
    seen = []
    model.lm_head.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape[1]))
    cut = kept_logits(Wrapped(Wrapped(model)), batch)
    whole = kept_logits(WithoutCut(model), batch)
    assert seen == [len(batch.kept), batch.ids.shape[1]] and seen[0] < seen[1]
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-5)
    assert unwrap(Wrapped(Wrapped(model))) is model


def test_a_flat_distribution_has_log_v_everywhere():
    batch = collate([row.chosen for row in pair_rows(3)], 0)
    logits = torch.zeros(len(batch) * len(batch.kept), 8, dtype=torch.float64)
    batch.target.remainder_(8)
    values = token_values(logits, batch, {"entropy", "sum_sq", "kl_ref"}, logits + 3)
    ones = torch.ones(len(batch.row), dtype=torch.float64)
    torch.testing.assert_close(values.logp, -ones * 2.0794415416798357)
    torch.testing.assert_close(values.entropy, ones * 2.0794415416798357)
    torch.testing.assert_close(values.sum_sq, ones / 8)
    torch.testing.assert_close(values.kl_ref, ones * 0, rtol=0, atol=1e-14)


def test_evaluation_mode_is_left_as_it_was():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    model.train()
    model[1].eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert [m.training for m in model.modules()] == [True, True, False, False]
