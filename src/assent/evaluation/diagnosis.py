"""Everything the diagnostics can tell of a model and preference data, in one pass: ``assent eval --diagnostics``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from assent.data.aside import write_aside
from assent.data.reading import Records, read
from assent.data.tokens import Tokenised, tokenise
from assent.diagnostics.cuts import cuts_of
from assent.diagnostics.figures import figures
from assent.diagnostics.gradients import entanglement
from assent.diagnostics.pairs import eta_of, measure
from assent.diagnostics.sampled import sampled
from assent.errors import AssentError
from assent.evaluation.ranking import default_objective
from assent.objectives import Objective, RunInfo, parse
from assent.sampling import SamplingSettings, Texts
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.engine import prepare_all
from assent.scoring.loading import check_vocabulary, load_policy, load_reference, load_tokenizer
from assent.scoring.protocol import check_needs
from assent.training import alarm_rules as rules
from assent.training.checkpoints import STATE_INFO, grown, load_state
from assent.training.greedy import prompts_in, room_after
from assent.training.line_file import written
from assent.training.metrics import lcpo_terms
from assent.training.reward_run import reads_reward, with_scorer

SCHEMA = 1
FILE = "diagnostics.json"


@dataclass(frozen=True)
class Diagnosis:
    """What was seen.  values, tables: as in ``docs/diagnostics.md``.  samples: records of drawn completions.

    warnings: the sentences of the alarms that these figures set off.
    """

    model: str
    data: str
    objective: str
    reference: str | None
    values: dict[str, float]
    tables: dict[str, Any]
    samples: list[dict[str, Any]] = field(default_factory=list)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The record with its schema number; figures that are not defined are null."""
        return json.loads(written({"schema": SCHEMA} | asdict(self)))

    def write(self, folder: str | Path) -> Path:
        """Write ``diagnostics.json`` into a folder, which is made; gives the file."""
        path = Path(folder) / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n"
            write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise AssentError(f"{str(path)!r} cannot be written ({error.strerror}); choose another --out") from None
        return path


def diagnose(
    model: str | Path, data: Any, *, objective: str | Objective | None = None, reference: str | Path | None = None,
    columns: Mapping[str, str] | None = None, max_length: int | None = None, batch_size: int = 16, dtype: str = "auto",
    prompts: int = 32, max_new_tokens: int = 64, gradients: int = 32, form: str = "last_layer", seed: int = 0,
) -> Diagnosis:  # fmt: skip
    """Figures, tables, drawn completions and warnings of ``model`` on the pairs of ``data``.

    objective: as for ``evaluate``.  reference: also where the objective reads none, for what is told against it (ranking,
    displacement, KL).  prompts: how many are completed (one draw each at temperature 1); 0 for none.  gradients: of how many
    pairs the entanglement is found; 0 for none.  form: how (``diagnostics.gradients``).
    Raises AssentError: rows that are not pairs, a reference that the objective reads and is not given.
    """
    objective = default_objective(model) if objective is None else objective
    objective = parse(objective) if isinstance(objective, str) else objective
    reward = reads_reward(objective)
    _check(objective, reference, reward)
    records = read(data, columns=columns)
    if records.kind != "pairs":
        raise AssentError(
            f"{records.source} holds {records.kind} rows; diagnostics need pairs (prompt, chosen, rejected)"
        )
    tokenizer = load_tokenizer(model)
    saved, names = _saved(model, objective)
    tokens = tokenise(records, tokenizer, max_length=max_length, annotators=names or None)
    scorer = _scorer(model, objective, reference, dtype, tokenizer, tokens)
    state = objective.init(RunInfo(tokens.annotators))
    state = grown(saved, names, state, tokens.annotators) if names else state
    pairs = measure(scorer, tokens.rows, objective, state, batch_size=batch_size)
    eta = (
        eta_of(objective, state) if names or not _learns(objective) else None
    )  # its start says nothing of the annotators
    found = figures(pairs, eta=eta, annotators=tokens.annotators, cuts=cuts_of(records, tokens.rows))
    values, samples = dict(found.values), []
    if not reward and gradients:
        told = entanglement(scorer, tokens.rows, objective, form=form, state=state, limit=gradients).summary()
        values |= {f"entanglement/{name}": value for name, value in told.items()}
    if not reward and prompts:
        samples, drawn = _drawn(scorer, tokenizer, tokens, (prompts, max_new_tokens, seed), batch_size)
        values |= drawn
    shown = None if reference is None else str(reference)
    return Diagnosis(
        str(model), _name(records), str(objective), shown, values, found.tables, samples, _warnings(values)
    )


def _saved(model: str | Path, objective: Objective) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The objective's state at the end of the run that wrote ``model``, and its annotators; nothing of another objective."""
    folder = Path(model)
    if not (folder / STATE_INFO).is_file():
        return {}, ()
    state, names, text = load_state(folder)
    return (state, names) if text == str(objective) else ({}, ())


def _learns(objective: Objective) -> bool:
    return any(term.mode in ("online", "crossfit") for term, _ in lcpo_terms(objective))


def _check(objective: Objective, reference: Any, reward: bool) -> None:
    if reference is None and any(need.kind == "reference" for need in objective.needs):
        raise AssentError(f"{objective} reads a reference; give the model that training started from with --reference")
    if reference is not None and reward:
        raise AssentError(f"a reward model has no reference, but {reference} was given; leave --reference out")


def _scorer(
    model: str | Path, objective: Objective, reference: Any, dtype: str, tokenizer: Any, tokens: Tokenised
) -> Any:  # fmt: skip
    """The model ready to score these rows, with the reference where one is given."""
    loaded = load_policy(model, dtype=dtype, reward=reads_reward(objective))
    check_vocabulary(loaded.model, tokenizer)
    if reads_reward(objective):
        if loaded.fresh_head and loaded.adapter is None:
            raise AssentError(f"{model} is a causal language model without a trained reward head; train one first")
        return with_scorer(loaded, objective, tokenizer)[1]
    second = None if reference is None else load_reference(reference, dtype=dtype)
    trees = not prepare_all(loaded.model, None if second is None else second.model)
    scorer = CausalLMScorer(loaded.model, second, tokens.pad_id, trees)
    check_needs(objective, scorer)
    return scorer


def _drawn(
    scorer: Any, tokenizer: Any, tokens: Tokenised, drawing: tuple[int, int, int], batch_size: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One completion each of the first different prompts, at temperature 1."""
    count, longest, seed = drawing
    rooms = [(ids, room_after(scorer.model, ids, longest)) for ids in prompts_in(tokens.rows, count)]
    kept = [(ids, room) for ids, room in rooms if room > 0]
    if not kept:
        return [], {}
    settings = SamplingSettings(max_new_tokens=min(room for _, room in kept), seed=seed)
    texts = Texts(tokenizer, scorer.model)
    return sampled(scorer, texts, [ids for ids, _ in kept], settings, batch_size)


def _name(records: Records) -> str:
    return str(records.source)


def _warnings(values: Mapping[str, float]) -> tuple[str, ...]:
    """What the alarms of a run would say of these figures."""
    nan = float("nan")
    reading = rules.Reading(
        values["pairs"], values["length/correlation"], values["length/slope"], values["saturation/share"],
        values["reward/accuracy"], values.get("displacement/chosen", nan), values.get("displacement/chosen_se", nan),
    )  # fmt: skip
    told = [look(reading) for look in (rules.falling_chosen, rules.saturation, rules.length_drift)]
    told += [look(values) for look in (rules.dead_pairs, rules.entangled)]
    return tuple(sentence for sentence in told if sentence is not None)
