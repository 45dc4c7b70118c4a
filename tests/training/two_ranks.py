"""One rank of some training runs, started as launchers start it; writes gradients, parameters, state and rows seen.

    python two_ranks.py RANK RANKS PORT FOLDER '{"name": {"objective": "dpo()", "rows": 21, ...}, ...}'

Runs follow each other in one process, since to start one costs more than to train; each writes FOLDER/NAME/rank-RANK.json.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

PLAN = {
    "objective": "dpo()", "rows": 21, "wrap": "ddp", "trees": False, "lora": False, "tied": True, "budget": None,
    "epochs": 2, "step": 8, "stop": None, "resume": None, "around": True, "heads": False, "update": "sum",
}  # fmt: skip
"""wrap: ddp or fsdp2.  step: rows of an optimiser step over all ranks.  stop: save a checkpoint there and end.
resume: name of the run that stopped.  heads: whether the scorer trains masks and classifiers.
around: whether scores are taken through the wrapped model, as they must."""


def shard_on_cpu() -> None:
    """accelerate gives FSDP to accelerators only and silently runs DDP on CPU; everything behind that works on gloo."""
    from accelerate import state

    before = state.AcceleratorState.__init__

    def init(self, *args, fsdp_plugin=None, **kwargs):
        before(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == state.DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = state.DistributedType.FSDP, fsdp_plugin
            state.PartialState._shared_state["distributed_type"] = state.DistributedType.FSDP

    state.AcceleratorState.__init__ = init


def build(plan: dict):
    """The model of the plan with its scorer."""
    import copy

    from small_run import exact_model

    from assent.objectives import parse
    from assent.scoring import engine
    from assent.scoring.causal_lm import CausalLMScorer
    from assent.scoring.lora import LoraSpec, fresh_adapter
    from assent.scoring.reference import AdapterDisabled, SecondModel

    model = exact_model(tied=plan["tied"])
    if plan["lora"]:
        import torch

        torch.manual_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GPT-2 keeps its weights the other way round, and PEFT says so
            model = fresh_adapter(model, LoraSpec(rank=4)).double()
    reference = AdapterDisabled() if plan["lora"] else SecondModel(copy.deepcopy(model))
    if plan["trees"]:
        for one in [model] if plan["lora"] else [model, reference.model]:
            assert engine.prepare(one) == ""
    if plan["heads"]:
        from small_run import scorer_for

        return model, scorer_for(model, [], parse(plan["objective"]))
    return model, CausalLMScorer(model, reference, 0, plan["trees"])


def whole(tensor):
    """A list of numbers, gathered from shards."""
    tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return tensor.detach().flatten().tolist()


def trained(model) -> dict:
    """Parameters that train, by their name under no wrapper."""
    names = {n.replace("_orig_mod.", "").removeprefix("module."): p for n, p in model.named_parameters()}
    return {n: p for n, p in names.items() if p.requires_grad}


def trainer_for(plan: dict, ranks: int, folder: Path, observers=()):
    from small_run import token_pairs, trainer_of, with_views

    from assent.objectives import parse

    model, scorer = build(plan)
    if not plan["around"]:
        scorer = Beside(scorer)
    extra = {"ddp_backend": "gloo"} if ranks > 1 else {}
    if plan["wrap"] == "fsdp2" and ranks > 1:
        extra |= {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["GPT2Block"]}}
    data = with_views(token_pairs(plan["rows"]), parse(plan["objective"]))
    if parse(plan["objective"]).data == "labelled":
        from assent.data.tokens import TokenExample

        data = [TokenExample(row.chosen, row.weight, i % 3 == 0, i, row.columns) for i, row in enumerate(data)]
    trainer = trainer_of(
        model, data, parse(plan["objective"]), folder / "out", per_device_train_batch_size=2,
        gradient_accumulation_steps=plan["step"] // (2 * ranks), num_train_epochs=plan["epochs"], eval_rows=data[:5],
        observers=list(observers), scorer=scorer, save_strategy="steps" if plan["stop"] or plan["resume"] else "no",
        save_steps=plan["stop"] or 100, **extra,
    )  # fmt: skip
    trainer.args.max_tokens_per_batch, trainer.args.update = plan["budget"], plan["update"]
    return trainer


class Beside:
    """A scorer that runs the model inside its wrapper: what the bound forward is there to prevent."""

    def __init__(self, scorer) -> None:
        self.scorer, self.trees = scorer, scorer.trees

    def on(self, model):
        from assent.scoring.forward import unwrap

        return self.scorer.on(unwrap(model))


def run(rank: int, ranks: int, folder: Path, plan: dict) -> dict:
    """One run of the plan; what it gave on this rank."""
    from transformers import TrainerCallback

    seen, sizes, gradients = [], [], []

    def watch(some, scores, state):
        seen.extend(row.index for row in some if row.weight > 0)
        sizes.append(len(some))

    trainer = trainer_for(plan, ranks, folder, [watch])

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            gradients.append({name: whole(p.grad) for name, p in trained(trainer.model).items()})

        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = control.should_training_stop or state.global_step == plan["stop"]

    trainer.add_callback(Watch())
    before = folder.parent / str(plan["resume"]) / "out"
    trainer.run(next(before.glob("checkpoint-*")) if plan["resume"] else None)
    found = trainer.evaluate()
    heads = {} if trainer.heads.heads is None else dict(trainer.heads.heads.named_parameters())
    trainer.save_model(str(folder / "saved"))
    return {
        "parameters": {name: whole(p) for name, p in {**trained(trainer.model), **heads}.items()},
        "gradients": gradients, "seen": seen, "sizes": sizes, "eval": found, "wrapper": type(trainer.model_wrapped).__name__,
        "state": {k: v.tolist() for k, v in trainer.objective_state.items()},
        "logs": [h for h in trainer.state.log_history if "loss" in h],
        "shards": sum(hasattr(p, "full_tensor") for p in trainer.model.parameters()),
    }  # fmt: skip


def main(rank: int, ranks: int, port: int, folder: Path, plans: dict) -> None:
    import torch
    from accelerate.state import AcceleratorState
    from toy_objectives import Toy

    from assent.objectives.registry import register

    register(Toy)
    shard_on_cpu()
    torch.set_num_threads(1)
    before = dict(os.environ)
    for number, (name, plan) in enumerate(plans.items()):
        os.environ.clear()  # transformers writes there that FSDP is on
        os.environ.update(before)
        if ranks > 1:  # a group of its own for every run, as accelerate takes none that is there already
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
                           "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port + number)}  # fmt: skip
        content = run(rank, ranks, folder / name, PLAN | plan)
        (folder / name / f"rank-{rank}.json").write_text(json.dumps(content))
        AcceleratorState._reset_state(reset_partial_state=True)
        if ranks > 1:
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    r, n, port, folder, text = sys.argv[1:]
    main(int(r), int(n), int(port), Path(folder), json.loads(text))
