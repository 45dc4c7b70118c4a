"""The plan of a run: the ledger by hand and against a real step, FLOPs by their formula, knobs, the closed form, mistakes."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import pair_dicts, save_small_model, small_model, small_tokenizer, token_pairs, write_jsonl
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from assent.errors import AssentError
from assent.objectives import parse
from assent.scoring import engine
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.lora import fresh_adapter
from assent.training import plan as planning
from assent.training.arguments import resolve
from assent.training.batches import rows_only
from assent.training.budget import Bundle
from assent.training.knobs import variants
from assent.training.ledger import Ledger, Op, Spec, aten
from assent.training.plan import Deal, Knob, Plan, plan
from assent.training.policy import lora_of
from assent.training.prepare import prepare
from assent.training.probe import LARGEST, Probe, fitted, work
from assent.training.simulate import Simulation
from assent.training.step import Step, denominators

QUIET = {"use_cpu": True, "bf16": False}


def simulation_of(objective: str, how: str = "known", **arguments: Any) -> Simulation:
    """A small Llama's simulation."""
    given = {"model": small_model(), "data": [], "tokenizer": small_tokenizer(), **QUIET, **arguments}
    settings, training = resolve(given, parse(objective), "unused")
    return Simulation(settings, training, parse(objective), how, ("anna", "ben", "cleo"), trees=True)


def matrix(*shape: int) -> Spec:
    return Spec(shape, tuple(torch.empty(shape, device="meta").stride()), torch.float32)


def test_the_ledger_counts_by_hand() -> None:
    ledger = Ledger()
    with FakeTensorMode(), ledger:
        with ledger.of("weights"):
            a = torch.empty(10, 100)  # 4,000 bytes
        b = a @ torch.empty(100, 5)  # 2,000 that vanish, 200 that stay
        assert ledger.total == 4200 and ledger.live == {"weights": 4000, "other": 200}
        assert ledger.peak == 6200 and ledger.parts == {"weights": 4000, "other": 2200}
        view = a[3:].t()
        ledger.relabel(view, "gradients")
        assert ledger.live["gradients"] == 4000 and ledger.live["weights"] == 0
        del a
        assert ledger.total == 4200  # the view holds it
        assert b.sum().item() == 1
        del b, view
    assert ledger.total == 0
    assert {op.func for op in ledger.ops} == {aten.empty.memory_format, aten.mm.default, aten.sum.default}
    ledger.clear()
    assert ledger.peak == 0 and not ledger.ops


def test_flops_by_hand() -> None:
    assert Op(aten.mm.default, (matrix(3, 4), matrix(4, 5)), ()).flops == 120
    assert Op(aten.addmm_.default, (matrix(3, 5), matrix(3, 4), matrix(4, 5)), ()).flops == 120
    assert Op(aten.bmm.default, (matrix(2, 3, 4), matrix(2, 4, 5)), ()).flops == 240
    grouped = torch.ops.aten._grouped_mm.default
    assert Op(grouped, (matrix(6, 4), matrix(3, 4, 5)), ()).flops == 240  # each row meets one expert
    assert Op(grouped, (matrix(4, 6), matrix(6, 5)), ()).flops == 240
    q, long = matrix(1, 2, 10, 8), matrix(1, 2, 30, 8)
    attention = aten._scaled_dot_product_flash_attention_for_cpu.default
    assert Op(attention, (q, long, long), ()).flops == 2 * 2 * 2 * 10 * 30 * 8
    assert Op(attention, (q, q, q, 0.0, True), ()).flops == 2 * 2 * 2 * 10 * 10 * 8 // 2
    assert Op(aten.add.Tensor, (q, q), ()).flops == 0 and Op(aten.add.Tensor, (q, q), ()).nbytes == 2 * 4 * 160


def test_a_simulated_step_multiplies_what_the_formula_says() -> None:
    simulation, rows = simulation_of("dpo()"), token_pairs(6)
    found = simulation.run([rows], [rows])
    tokens = Bundle.of([Bundle.of_row(row, i, True) for i, row in enumerate(rows)]).tokens
    counted = sum(int(side.mask.sum()) for row in rows for side in (row.chosen, row.rejected))
    head = simulation.model.get_output_embeddings().weight.numel()
    trunk = sum(m.weight.numel() for m in simulation.model.modules() if isinstance(m, torch.nn.Linear)) - head
    products = sum(n * op.flops for op, n in found.rows.items() if "attention" not in str(op.func))
    assert products == 6 * trunk * tokens + 6 * head * counted
    assert found.trees and found.parameters == found.trainable == sum(p.numel() for p in small_model().parameters())


class Real(TorchDispatchMode):
    """Live bytes of real tensors."""

    def __init__(self, held: int) -> None:
        super().__init__()
        self.live = self.peak = held
        self.known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in [] if func.is_view else tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and (key := tensor.untyped_storage()._cdata) not in self.known:
                self.known[key] = tensor.untyped_storage().nbytes()
                self.live += self.known[key]
                self.peak = max(self.peak, self.live)
                weakref.finalize(tensor.untyped_storage(), self.drop, key)
        return out

    def drop(self, key: int) -> None:
        self.live -= self.known.pop(key)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers will call gradient checkpointing by another name
@pytest.mark.parametrize("arguments", [{}, {"lora_r": 4}, {"gradient_checkpointing": True}], ids=str)
def test_the_simulated_peak_is_that_of_a_real_step(arguments: dict[str, Any]) -> None:
    rows = token_pairs(24)
    simulation = simulation_of("simpo()", "none", **arguments)
    found = simulation.run([rows], [rows])

    model, objective = small_model(), parse("simpo()")
    if spec := lora_of(simulation.settings):
        model = fresh_adapter(model, spec)
    assert engine.prepare(model) == ""
    model.train()
    if arguments.get("gradient_checkpointing"):
        model.gradient_checkpointing_enable(None)
    scorer = CausalLMScorer(model, None, 0, True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    real = Real(sum({p.untyped_storage()._cdata: p.nbytes for p in model.parameters()}.values()))
    peaks = []
    for _ in range(2):
        with real:
            real.peak = real.live
            step = Step(objective, {}, lambda r: scorer.scores(r, objective.needs), lambda loss: loss.backward())
            step.run([rows], denominators(objective, rows_only(rows)), len(rows))
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
        peaks.append(real.peak)
    assert found.peak == pytest.approx(peaks[1], rel=0.01)
    assert found.parts["optimizer"] == pytest.approx(2 * sum(p.nbytes for p in trained), rel=0.01)


def test_a_split_step_holds_gradients_and_a_live_reference_its_weights() -> None:
    rows = token_pairs(8)
    whole = simulation_of("dpo()").run([rows], [rows])
    split = simulation_of("dpo()").run([rows[:4], rows[4:]], [rows[:4]])
    weights = whole.parts["weights"]
    assert whole.parts.get("gradients", 0) < weights * 0.1 and split.parts["gradients"] >= weights * 0.99
    live = simulation_of("dpo()", "live").run([rows], [rows])
    weights = live.parts["weights"]
    assert live.parts["reference"] == weights and live.peak == pytest.approx(whole.peak + weights, rel=0.01)
    assert sum(op.flops * n for op, n in live.rows.items()) == pytest.approx(
        4 / 3 * sum(op.flops * n for op, n in whole.rows.items()), rel=0.02
    )  # one more forward pass


@dataclass(frozen=True)
class Slow:
    """A clockwork machine: so many seconds for an operation."""

    rate: float

    def __call__(self, op: Op) -> float:
        return work(op) * self.rate


def test_the_probe_scales_from_the_nearest_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe()
    monkeypatch.setattr(probe, "_run", Slow(1e-9))
    small, large = (Op(aten.mm.default, (matrix(n, 8), matrix(8, 8)), ()) for n in (4, 400))
    other = Op(aten.add.Tensor, (matrix(100), matrix(100)), ())
    probe.measure(
        Counter({small: 3, large: 1, other: 2}), budget=0.0
    )  # the dearest product and the dearest other at least
    assert set(probe.seconds) == {large, other}
    assert probe.one(small) == pytest.approx(2 * 4 * 8 * 8 * 1e-9)
    assert probe.of(Counter({small: 3, other: 2})) == pytest.approx(3 * 512e-9 + 2 * 800e-9)
    unseen = Op(aten.mul.Tensor, (matrix(50), matrix(50)), ())
    assert probe.one(unseen) == pytest.approx(400e-9)


def test_the_probe_runs_what_a_step_runs() -> None:
    simulation, rows = simulation_of("dpo()"), token_pairs(4)
    found = simulation.run([rows], [rows])
    probe = Probe()
    probe.measure(found.rows + found.update, budget=60.0)
    unmeasured = {op.func for op in found.rows + found.update if op not in probe.seconds}
    assert not unmeasured and all(seconds >= 0 for seconds in probe.seconds.values())


def test_what_is_too_large_is_cut_or_left() -> None:
    part = Spec((LARGEST // 8,), (1,), torch.float32)  # half of what fits
    op = Op(torch.ops.aten._foreach_mul_.Scalar, ((part,) * 6, 2.0), ())
    cut, share = fitted(op)
    assert len(cut.args[0]) == 2 and share == pytest.approx(1 / 3)
    assert fitted(Op(aten.mul.Tensor, (part, part), ()))[0] is not None
    assert fitted(Op(aten.cat.default, (part, part, part), ()))[0] is None


# ---- plans ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned(small_folder: Path, small_pairs: Path) -> Plan:
    return plan(
        small_folder, small_pairs, "dpo()", per_device_train_batch_size=4, knobs=False, probe_seconds=0.3, **QUIET
    )


def test_the_numbers_of_a_run(planned: Plan, small_folder: Path, small_pairs: Path) -> None:
    settings, training = resolve({"model": small_folder, "data": small_pairs, **QUIET}, parse("dpo()"), "unused")
    rows = prepare(settings, parse("dpo()"), 0, None).rows
    assert planned.how == "simulated" and planned.device == "cpu"
    assert (planned.steps, planned.rows) == (10, 40)
    alone = sum(Bundle.of_row(row, i, True).tokens for i, row in enumerate(rows))
    assert 0.7 * alone < 10 * planned.tokens_per_step <= alone  # rows of a step may share their prompt
    assert planned.tokens_per_second / planned.pairs_per_second == pytest.approx(planned.tokens_per_step / 4)
    trained = 10 * planned.tokens_per_step / planned.tokens_per_second
    assert planned.seconds == pytest.approx(trained + planned.reference_seconds)
    assert planned.peak_bytes == sum(planned.parts.values())
    deal = Deal.of(training, rows, True)
    assert deal.largest_row == planned.largest_row == max(Bundle.of_row(r, 0, True).tokens for r in rows)


def test_cross_fitting_counts_its_folds(planned: Plan, small_folder: Path, small_pairs: Path) -> None:
    given = {"per_device_train_batch_size": 4, "knobs": False, "probe_seconds": 0.1, **QUIET}
    found = plan(small_folder, small_pairs, "lcpo(dpo(), reliability='crossfit', rounds=2)", **given)
    assert found.steps == 5 * planned.steps and found.cache_bytes == 0 and found.reference_seconds > 0


def test_the_cache_is_as_large_as_told(planned: Plan, small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    from assent.training.caching import prefill

    prefill(small_folder, small_pairs, cache_dir=tmp_path, **QUIET)
    (path,) = tmp_path.glob("*/*.safetensors")
    assert abs(path.stat().st_size - planned.cache_bytes) < 512


@pytest.mark.slow
def test_every_knob_turns_what_it_should(small_folder: Path, small_pairs: Path) -> None:
    # micro-batches large enough that training needs more than the reference's pass
    found = plan(small_folder, small_pairs, "dpo()", per_device_train_batch_size=20, probe_seconds=1.0, **QUIET)
    knobs = {(knob.name, knob.value): knob for knob in found.knobs}
    less = [
        ("per_device_train_batch_size", 10),
        ("gradient_checkpointing", True),
        ("dtype", "bfloat16"),
    ]
    assert all(knobs[key].peak_bytes < found.peak_bytes for key in less)
    # rank 16 on a width of 32: what its products keep outweighs the smaller gradient and optimiser state
    assert 0 < knobs["lora_r", 16].peak_bytes - found.peak_bytes < 0.1 * found.peak_bytes
    assert knobs["reference_logp", "live"].peak_bytes > found.peak_bytes
    assert all(knob.tokens_per_second > 0 for knob in found.knobs)
    told = found.to_json()
    assert told["schema"] == 1 and told["knobs"][0].keys() == {"name", "value", "peak_bytes", "tokens_per_second"}


def tried(objective: str, found: Plan, **arguments: Any) -> dict[tuple[str, Any], Any]:
    """The knobs that a run would be told of."""
    given = {"model": "M", "data": [], **QUIET, **arguments}
    settings, training = resolve(given, parse(objective), "unused")
    return {(name, value): changes for name, value, changes in variants(settings, training, parse(objective), found)}


def test_which_knobs_are_tried(planned: Plan) -> None:
    run = replace(planned, largest_micro_batch=100, largest_row=30)
    found = tried("dpo()", run, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert found == {
        ("max_tokens_per_batch", 50): {"max_tokens_per_batch": 50},
        ("per_device_train_batch_size", 2): {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        ("per_device_train_batch_size", 8): {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1},
        ("gradient_checkpointing", True): {"gradient_checkpointing": True},
        ("lora_r", 16): {"lora_r": 16},
        ("optim", "adafactor"): {"optim": "adafactor"},
        ("dtype", "bfloat16"): {"dtype": "bfloat16"},
        ("reference_logp", "live"): {"reference_logp": "live", "cache_dir": None},
    }
    # a row is never cut, an adapter stays one, and what the objective does not read is no knob
    other = tried("simpo()", replace(run, largest_row=100), lora_r=4, max_tokens_per_batch=100, optim="adafactor")
    assert set(other) == {("gradient_checkpointing", True)}


def test_a_knob_is_a_run_of_its_own(planned: Plan, small_folder: Path, small_pairs: Path) -> None:
    pick = [("reference_logp", "live", {"reference_logp": "live"})]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "variants_of", lambda *args: pick)
        (knob,) = plan(
            small_folder, small_pairs, "dpo()", per_device_train_batch_size=4, probe_seconds=0.3, **QUIET
        ).knobs
    assert (knob.name, knob.value) == ("reference_logp", "live") and knob.tokens_per_second > 0
    assert knob.peak_bytes != planned.peak_bytes


def test_advice_by_hand(planned: Plan) -> None:
    knobs = (Knob("lora_r", 16, 60, 120.0), Knob("optim", "adafactor", 80, 90.0))
    run = replace(planned, peak_bytes=100, tokens_per_second=100.0, knobs=knobs)
    assert replace(run, available_bytes=200).advice() == (
        "it fits; lora_r=16 would make it 20% faster, and train another thing"
    )
    assert "lora_r=16 makes it fit" in replace(run, available_bytes=90).advice()
    assert "no single knob" in replace(run, available_bytes=50).advice()
    assert "no knob makes it faster" in replace(run, available_bytes=200, knobs=knobs[1:]).advice()
    text = replace(run, available_bytes=90).text()
    assert "lora_r=16" in text and "-40%" in text and "+20%" in text
    # a slower knob that trains the same thing comes before a faster one that does not
    same = Knob("gradient_checkpointing", True, 70, 80.0)
    told = replace(run, available_bytes=90, knobs=(*knobs, same)).advice()
    assert told == "it does not fit; gradient_checkpointing=True makes it fit at the least cost in speed"
    assert replace(run, available_bytes=None, knobs=()).advice() == "it fits"


def test_a_plan_reads_no_weight(tmp_path: Path, small_pairs: Path) -> None:
    folder = save_small_model(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"")
    found = plan(folder, small_pairs, "sft()", knobs=False, probe_seconds=0.1, **QUIET)
    assert found.how == "simulated" and found.cache_bytes == 0 and found.reference_seconds == 0


def test_the_closed_form_takes_over_and_says_so(
    small_folder: Path, small_pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"per_device_train_batch_size": 8, "knobs": False, "probe_seconds": 0.2, **QUIET}
    expected = plan(small_folder, small_pairs, "dpo()", **given)

    def refuse(*args: Any) -> None:
        raise RuntimeError("needs a value")

    monkeypatch.setattr(planning, "Simulation", refuse)
    found = plan(small_folder, small_pairs, "dpo()", **given)
    assert found.how == "needs a value" and "a closed form, not a simulation: needs a value" in found.text()
    for kind in ("weights", "optimizer"):
        assert found.parts[kind] == pytest.approx(expected.parts[kind], rel=0.01)
    assert found.parts["activations"] == pytest.approx(expected.parts["activations"], rel=0.15)
    assert 0.1 < found.tokens_per_second / expected.tokens_per_second < 10


def test_mistakes_are_refused(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(AssentError, match="one process with a whole model"):
        plan(small_folder, small_pairs, fsdp="full_shard", **QUIET)
    with pytest.raises(AssentError, match="probe_seconds is 0"):
        plan(small_folder, small_pairs, probe_seconds=0, **QUIET)
    with pytest.raises(AssentError, match="is no directory"):
        plan(tmp_path / "absent", small_pairs, tokenizer=small_folder, probe_seconds=0.1, **QUIET)
    with pytest.raises(AssentError, match="no whole step"):
        rows = write_jsonl(tmp_path / "few.jsonl", pair_dicts(3))
        plan(small_folder, rows, dataloader_drop_last=True, probe_seconds=0.1, **QUIET)


@pytest.mark.parametrize(("text", "more"), [("dpo() + rationale()", 1.0), ("masked(dpo(), 'differing')", 0.0)])
def test_views_and_token_columns_are_planned(text: str, more: float, small_folder: Path, tmp_path: Path) -> None:
    rows = [row | {"rationale": "because the cat sees the dog and likes fish"} for row in pair_dicts(16)]
    data = write_jsonl(tmp_path / "p.jsonl", rows)
    ask = partial(plan, str(small_folder), str(data), knobs=False, probe_seconds=0.01, use_cpu=True, max_length=64)
    base, found = ask("dpo()"), ask(text)
    assert (found.tokens_per_step > base.tokens_per_step) == (more > 0)


def test_masks_and_heads_are_refused(small_folder: Path, small_pairs: Path) -> None:
    with pytest.raises(AssentError, match="trains mask 'mask', whose passes plan does not know"):
        plan(str(small_folder), str(small_pairs), "sparsepo()", use_cpu=True)
