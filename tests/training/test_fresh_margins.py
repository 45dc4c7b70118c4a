"""Cross-fitted reliabilities in a loop: margins of rounds that were new to their policy, and the estimate from all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_run import count_a, save_model_and_prompts

from assent import AssentError, parse, train
from assent.judges import AnnotatorPool, ScalarJudge
from assent.robust.estimation import estimate
from assent.sampling import rounds
from assent.scores import Labels
from assent.training.fresh_margins import fresh_margins

NAMES = ("anna", "ben", "carla")
POOL = AnnotatorPool(ScalarJudge(count_a), dict(zip(NAMES, (0.95, 0.9, 0.6), strict=True)), labels=2, twice=0.5)
QUICK = {
    "judge": POOL, "rounds": 3, "samples": 2, "pairing": "random", "max_new_tokens": 8, "learning_rate": 1e-2, "max_length": 64,
    "per_device_train_batch_size": 4, "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "save_steps": 2,
}  # fmt: skip
LOSS = "lcpo(dpo(beta=0.5), reliability='crossfit')"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_and_prompts(tmp_path_factory.mktemp("files"))


def run(files: Path, out: Path, loss: str = LOSS, **how):
    return train(str(files / "model"), str(files / "prompts.jsonl"), loss, out, **(QUICK | how))


def labels_of(out: Path, number: int) -> Labels:
    """The labels of a round as its own Parquet file has them."""
    pairs = [pair for group in rounds.read(out / "rounds" / f"round-{number:03d}").groups for pair in group.pairs]
    told = [(i, NAMES.index(x.annotator), x.p) for i, pair in enumerate(pairs) for x in pair.labels]
    pair, annotator, p = zip(*told, strict=True)
    return Labels(torch.tensor(pair), torch.tensor(annotator), torch.tensor(p, dtype=torch.float64))


def margins_of(files: Path, out: Path, number: int) -> list[float]:
    """beta x the gap of log-ratios under the policy that drew the round, one unpadded forward pass a completion."""
    from transformers import AutoModelForCausalLM

    place = out / "rounds" / f"round-{number - 1:03d}" / "policy" if number else files / "model"
    models = [AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (place, files / "model")]
    data, found = rounds.read(out / "rounds" / f"round-{number:03d}"), []
    for group, made, ids in zip(data.groups, data.completions, data.prompt_ids, strict=True):
        for pair in group.pairs:
            ratios = []
            for k in (pair.chosen, pair.rejected):
                whole = torch.tensor(np.concatenate([ids, made[k].ids]))[None].long()
                logp = [m(whole).logits[0, len(ids) - 1 : -1].double().log_softmax(-1) for m in models]
                taken = [x.gather(1, whole[0, len(ids) :, None]).sum().item() for x in logp]
                ratios.append(taken[0] - taken[1])
            found.append(0.5 * (ratios[0] - ratios[1]))
    return found


def test_margins_are_those_of_the_policy_that_drew_the_round(files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", source="iterative", rounds=2)
    for number in (0, 1):
        kept = load_file(str(tmp_path / "out" / "rounds" / f"round-00{number}" / "margins.safetensors"))
        assert kept["logit"].tolist() == pytest.approx(margins_of(files, tmp_path / "out", number), abs=2e-5)
        expected = labels_of(tmp_path / "out", number)
        assert torch.equal(kept["pair"], expected.pair) and torch.equal(kept["annotator"], expected.annotator)
    assert kept["logit"].abs().max() > 0.01


def test_the_estimate_is_from_all_rounds_so_far_and_is_what_the_run_trains_with(files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out", source="online")
    logit, pair, offset, told = [], [], 0, []
    for number in range(3):
        kept = load_file(str(tmp_path / "out" / "rounds" / f"round-00{number}" / "margins.safetensors"))
        logit.append(kept["logit"])
        own = labels_of(tmp_path / "out", number)
        pair.append(own.pair + offset)
        told.append(own)
        offset += len(kept["logit"])
    labels = Labels(torch.cat(pair), torch.cat([x.annotator for x in told]), torch.cat([x.p for x in told]))
    content = json.loads((tmp_path / "out" / "crossfit" / "reliabilities.json").read_text())
    assert content["pairs"] == offset and content["annotators"]["anna"]["labels"] == int((labels.annotator == 0).sum())
    eta = [content["annotators"][name]["reliability"] for name in NAMES]
    assert found.trainer.objective_state["eta"].tolist() == pytest.approx(eta, abs=1e-12)
    if not content["note"]:
        assert eta == pytest.approx(estimate(torch.cat(logit), labels, 3).eta.tolist(), abs=1e-6)
    else:  # margins that tell nothing: agreement alone
        alone = estimate(None, labels, 3, start=0.9, pairs=offset).eta.tolist()
        assert eta == pytest.approx(alone, abs=1e-6)
    assert content["rests_on"] == "agreement" and max(abs(e - 0.9) for e in eta) > 0.02


@pytest.mark.parametrize("source", ["online", pytest.param("iterative", marks=pytest.mark.slow)])
def test_a_run_that_lost_its_end_resumes_to_the_same_weights(files: Path, tmp_path: Path, source: str) -> None:
    import shutil

    run(files, tmp_path / "whole", source=source)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors").unlink()
    steps = sorted((int(f.name.split("-")[1]), f) for f in (tmp_path / "cut").glob("checkpoint-*"))
    shutil.rmtree(steps[-1][1])
    run(files, tmp_path / "cut", source=source, resume=True)
    kept = [load_file(str(tmp_path / x / "model.safetensors")) for x in ("whole", "cut")]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
    states = [load_file(str(tmp_path / x / "assent_state.safetensors")) for x in ("whole", "cut")]
    assert states[0]["eta"].tolist() == states[1]["eta"].tolist()


def test_what_a_loop_does_not_read_is_refused(tmp_path: Path) -> None:
    assert fresh_margins(parse("lcpo(dpo())"), tmp_path, ("a",)) is None
    with pytest.raises(AssentError, match="rounds is 2, which repeats folds"):
        fresh_margins(parse("lcpo(dpo(), reliability='crossfit', rounds=2)"), tmp_path, ("a",))
    with pytest.raises(AssentError, match="holds 2 lcpo terms"):
        fresh_margins(parse(f"{LOSS} + lcpo(ipo())"), tmp_path, ("a",))
