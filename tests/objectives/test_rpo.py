"""RPO by hand, and the identity that makes it a theory."""

from __future__ import annotations

from math import log

import pytest
import torch
from oracle import sigmoid
from torch.testing import assert_close

from assent import AssentError, parse
from hand import pair, slopes, value


def test_golden_values_and_canonical_text() -> None:
    # DPO at h = 0 is ln 2; the chosen side's 6 nats cost eta beta 6 = .3
    assert value(parse("rpo(beta=0.1, eta=0.5)")(pair(-6.0, -4.0, ref=(-6.0, -4.0)))) == pytest.approx(log(2) + 0.3)
    # mean over 3 tokens, no beta: .2 x 2
    scores = pair(-6.0, -4.0, ref=(-6.0, -4.0), length=(3.0, 2.0))
    assert value(parse("rpo_average()")(scores)) == pytest.approx(log(2) + 0.4)
    assert str(parse("rpo(beta=0.5, eta=0.25)")) == "dpo(beta=0.5) + 0.125*sft(per='sequence')"
    assert str(parse("rpo_average(c=0)")) == "dpo(beta=0.5)"


def test_the_two_sides_never_cancel() -> None:
    """Sheet, identity 3: -beta sigmoid(-beta D) - eta beta, and beta sigmoid(-beta D)."""
    scores = pair(3.0, 1.0)
    pull = 0.2 * sigmoid(-0.4)
    loss = parse("rpo(beta=0.2, eta=0.5)")(scores)
    assert slopes(scores, loss) == pytest.approx((-pull - 0.1, pull), abs=1e-12)


def test_the_pessimistic_reward_gives_exactly_this_loss() -> None:
    """Sheet, identity 2, for any reward on a finite set: eta [beta log Z - E_base r] + BT(r) = RPO of pi_r less a constant."""
    generator = torch.Generator().manual_seed(0)
    r, ref = torch.randn(5, generator=generator, dtype=torch.float64), torch.rand(5, generator=generator).double()
    beta, eta, w, l = 0.3, 0.7, 1, 3
    ref, base = ref.log_softmax(0), torch.tensor([0.1, 0.4, 0.2, 0.0, 0.3], dtype=torch.float64)
    policy = (ref + r / beta).log_softmax(0)
    left = eta * (beta * (ref + r / beta).logsumexp(0) - (base * r).sum()) + torch.log1p((r[l] - r[w]).exp())
    scores = pair(policy[w].item(), policy[l].item(), ref=(ref[w].item(), ref[l].item()))
    right = -eta * beta * (base * (policy - ref)).sum() + parse(f"dpo(beta={beta})")(scores)[0]
    assert_close(left, right.detach())


def test_ranges() -> None:
    with pytest.raises(AssentError, match="rpo: eta is -1"):
        parse("rpo(eta=-1)")
    with pytest.raises(AssentError, match="rpo_average: c"):
        parse("rpo_average(c=-0.1)")
    with pytest.raises(AssentError, match=r"arXiv:2404\.19733"):
        parse("rpo(rpo_alpha=1.0)")
