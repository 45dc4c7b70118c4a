"""Run by torchrun-like processes: one rank of a training run; writes its parameters, state and the rows that it saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main(rank: int, ranks: int, port: int, folder: Path, text: str, rows: int) -> None:
    if ranks > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    import torch
    from small_run import exact_model, token_pairs, trainer_of
    from toy_objectives import Toy

    from assent.objectives import parse
    from assent.objectives.registry import register

    register(Toy)

    torch.set_num_threads(1)
    seen: list[int] = []

    def watch(some, scores, state):
        seen.extend(row.index for row in some if row.weight > 0)

    model, data = exact_model(), token_pairs(rows)
    trainer = trainer_of(
        model, data, parse(text), folder / "out", per_device_train_batch_size=2,
        gradient_accumulation_steps=8 // (2 * ranks), num_train_epochs=2, observers=[watch], eval_rows=data[:5],
        **({"ddp_backend": "gloo"} if ranks > 1 else {}),
    )  # fmt: skip
    trainer.train()
    found = trainer.evaluate()
    logs = [h for h in trainer.state.log_history if "loss" in h]
    content = {
        "parameters": [p.detach().flatten().tolist() for p in model.parameters()],
        "state": {k: v.tolist() for k, v in trainer.objective_state.items()},
        "seen": seen, "logs": logs, "eval": found,
    }  # fmt: skip
    (folder / f"rank-{rank}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    r, n, port, folder, text, rows = sys.argv[1:]
    main(int(r), int(n), int(port), Path(folder), text, int(rows))
