from __future__ import annotations

from dataclasses import dataclass

import pytest
from tiny import tiny_model

from assent.errors import AssentError
from assent.objectives import parse
from assent.objectives.base import Need, Objective
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.protocol import Scorer, check_needs
from assent.scoring.reference import Precomputed, SecondModel


@dataclass(frozen=True)
class Asking(Objective):
    kind: str = "kl_ref"
    name = "asking"

    @property
    def needs(self):
        return frozenset({Need(self.kind)})


def test_the_scorer_keeps_the_protocol():
    assert isinstance(CausalLMScorer(tiny_model()), Scorer)


def test_needs_are_refused_by_name():
    bare = CausalLMScorer(tiny_model())
    with pytest.raises(AssentError, match=r"objective dpo\(.*\) needs reference; this scorer provides column, entropy"):
        check_needs(parse("lcpo(dpo())"), bare)
    with pytest.raises(AssentError, match="needs reference"):
        check_needs(parse("simpo() + 0.1*dpo()"), bare)
    with pytest.raises(AssentError, match="needs hidden"):
        check_needs(Asking("hidden"), bare)


def test_needs_that_can_be_met_pass():
    model = tiny_model()
    check_needs(parse("lcpo(simpo()) + 0.1*sft()"), CausalLMScorer(model))
    live = CausalLMScorer(model, SecondModel(tiny_model()))
    assert live.provides >= {"reference", "kl_ref", "length", "tokens"}
    check_needs(parse("lcpo(dpo()) + 0.1*sft()"), live)
    check_needs(Asking(), live)


def test_whole_distributions_need_a_live_reference():
    import torch

    scorer = CausalLMScorer(tiny_model(), Precomputed({}, torch.zeros(0)))
    with pytest.raises(AssentError, match="cannot be precomputed"):
        check_needs(Asking(), scorer)
