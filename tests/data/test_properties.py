"""Properties: masks recover the completion, prompts are shared, merging ignores the order of rows, swaps are swaps."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from chat_templates import CHATML, GEMMA, LLAMA3, MISTRAL, THINKING
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from assent.data import read, split_by_prompt, tokenise
from assent.data.dialogue import common_prefix

MODERATE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
texts = st.text(st.sampled_from("ab \n.é東🙂T"), max_size=12)
spoken = texts.map(str.strip).filter(bool)


@pytest.fixture(scope="module")
def tokenizers(bytes_bpe):
    templates = {"chatml": CHATML, "llama3": LLAMA3, "gemma": GEMMA, "mistral": MISTRAL, "thinking": THINKING}
    ends = {"chatml": "<|im_end|>", "thinking": "<|im_end|>"}
    return {name: bytes_bpe(t, eos=ends.get(name, "</s>")) for name, t in templates.items()}


@MODERATE
@given(prompt=texts, chosen=texts, rejected=texts, trim=st.booleans(), begin=st.booleans())
def test_plain_masks_hold_every_character_of_the_completion(bytes_bpe, prompt, chosen, rejected, trim, begin):
    assume(chosen != rejected and (prompt or begin))
    tokenizer = cached(bytes_bpe, trim, begin)
    (pair,) = tokenise(read([{"prompt": prompt, "chosen": chosen, "rejected": rejected}]), tokenizer).rows
    for sequence, completion in ((pair.chosen, chosen), (pair.rejected, rejected)):
        ids = sequence.ids.tolist()
        assert tokenizer.decode(ids).removeprefix("<s>") == prompt + completion + "</s>"
        after = tokenizer.decode(ids[sequence.prompt_length :])
        before = tokenizer.decode(ids[: sequence.prompt_length + 1])
        if "�" not in after:  # no character lies across the boundary
            assert after.endswith(completion + "</s>")
        if "�" not in before:  # one token more would leave the prompt
            assert len(before.removeprefix("<s>")) > len(prompt)
        assert (
            sequence.mask[max(1, sequence.prompt_length) :].all() and not sequence.mask[: sequence.prompt_length].any()
        )
    n = pair.branch
    assert np.array_equal(pair.chosen.ids[:n], pair.rejected.ids[:n])
    assert (
        n == min(pair.chosen.prompt_length, pair.rejected.prompt_length) or pair.chosen.ids[n] != pair.rejected.ids[n]
    )


_CACHE: dict[tuple[bool, bool], object] = {}


def cached(build, trim, begin):
    if (trim, begin) not in _CACHE:
        _CACHE[trim, begin] = build(trim=trim, begin=begin)
    return _CACHE[trim, begin]


@MODERATE
@given(
    name=st.sampled_from(["chatml", "llama3", "gemma", "mistral", "thinking"]),
    turns=st.lists(st.tuples(spoken, spoken), max_size=2),
    ask=spoken, chosen=spoken, rejected=spoken,
)  # fmt: skip
def test_conversations_count_the_reply_and_its_end(tokenizers, name, turns, ask, chosen, rejected):
    assume(chosen != rejected)
    tokenizer = tokenizers[name]
    prompt = [m for u, a in turns for m in ({"role": "user", "content": u}, {"role": "assistant", "content": a})]
    prompt.append({"role": "user", "content": ask})
    reply = lambda text: [{"role": "assistant", "content": text}]  # noqa: E731
    row = {"prompt": prompt, "chosen": reply(chosen), "rejected": reply(rejected)}
    tokens = tokenise(read([row]), tokenizer)
    end = {"llama3": "<|eot|>", "gemma": "<end_of_turn>", "mistral": "</s>"}.get(name, "<|im_end|>")
    (pair,) = tokens.rows
    for sequence, text in ((pair.chosen, chosen), (pair.rejected, rejected)):
        counted = tokenizer.decode(sequence.ids[sequence.mask].tolist())
        assert counted.strip() == text + end
        rendered = tokenizer.apply_chat_template([*prompt, *reply(text)], tokenize=False)
        assert tokenizer.decode(sequence.ids.tolist()) == rendered
    assert pair.branch == pair.chosen.prompt_length == pair.rejected.prompt_length
    assert tokens.report["completion rewritten"] == 0


rows = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.sampled_from("pq"),
            "two": st.sampled_from([("x", "y"), ("y", "x"), ("x", "z"), ("z", "x")]),
            "p_b": st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0]),
            "annotator": st.sampled_from(["anna", "ben", None]),
            "weight": st.sampled_from([1.0, 2.0, 0.5]),
        }
    ),
    min_size=1,
    max_size=8,
)


def as_judgements(given_rows):
    out = []
    for row in given_rows:
        a, b = row["two"]
        out.append({**{k: v for k, v in row.items() if k != "two"}, "response_a": a, "response_b": b})
    return out


def meaning(records):
    """What a set of pairs says, whatever the stored order: for each pair, the labels as P(the lesser text is better)."""
    out = {}
    for pair in records.rows:
        first = pair.chosen < pair.rejected
        labels = {x.annotator: (round(x.p if first else 1 - x.p, 9), round(x.weight, 9)) for x in pair.labels}
        out[pair.prompt, *sorted([pair.chosen, pair.rejected])] = labels
    return out


@MODERATE
@given(rows=rows, seed=st.integers(0, 9))
def test_merging_ignores_the_order_of_rows(rows, seed):
    judgements = as_judgements(rows)
    records = read(judgements)
    shuffled = judgements.copy()
    random.Random(seed).shuffle(shuffled)
    assert meaning(read(shuffled)) == meaning(records)
    for pair in records.rows:
        assert pair.target >= 0.5 - 1e-9
        assert len({x.annotator for x in pair.labels}) == len(pair.labels)
    assert sum(len(x.rows) for pair in records.rows for x in pair.labels) == len(judgements)
    assert sum(pair.weight for pair in records.rows) == pytest.approx(sum(j["weight"] for j in judgements))


@MODERATE
@given(rows=rows)
def test_a_b_exchanged_says_the_same(rows):
    judgements = as_judgements(rows)
    other = [
        {**j, "response_a": j["response_b"], "response_b": j["response_a"], "p_b": 1 - j["p_b"]} for j in judgements
    ]
    assert meaning(read(other)) == meaning(read(judgements))


@MODERATE
@given(rows=rows)
def test_weight_equals_repeating_the_row(rows):
    judgements = [{**j, "weight": 2.0} for j in as_judgements(rows)]
    repeated = [{**j, "weight": 1.0} for j in judgements for _ in range(2)]
    assert meaning(read(repeated)) == meaning(read(judgements))


@MODERATE
@given(rows=rows)
def test_swapping_twice_gives_the_pair_back(rows):
    for pair in read(as_judgements(rows)).rows:
        assert pair.swapped().target == pytest.approx(1 - pair.target)
        assert pair.swapped().chosen == pair.rejected and pair.swapped().swapped().chosen == pair.chosen


@MODERATE
@given(a=texts, b=texts)
def test_common_prefix(a, b):
    n = common_prefix(a, b)
    assert a[:n] == b[:n] and (n == len(a) or n == len(b) or a[n] != b[n])


@MODERATE
@given(head=texts, a=texts, b=texts)
def test_implied_prompts_lose_no_character(head, a, b):
    assume(a != b)
    (pair,) = read([{"chosen": head + a, "rejected": head + b}]).rows
    assert pair.prompt + pair.chosen == head + a and pair.prompt + pair.rejected == head + b


@MODERATE
@given(
    prompts=st.lists(st.text("abc ", max_size=3), min_size=2, max_size=30),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_split_keeps_duplicates_together(prompts, fraction, seed):
    assume(len({" ".join(p.split()) for p in prompts}) > 1)
    records = read([{"prompt": p, "completion": str(i)} for i, p in enumerate(prompts)])
    train, test = split_by_prompt(records, fraction, seed)
    sides = [{" ".join(row.prompt.split()) for row in side.rows} for side in (train, test)]
    assert not sides[0] & sides[1] and sides[0] and sides[1]
    assert sorted(int(row.completion) for side in (train, test) for row in side.rows) == list(range(len(prompts)))
    again = split_by_prompt(read([{"prompt": p, "completion": "x"} for p in reversed(prompts)]), fraction, seed)[1]
    assert {" ".join(row.prompt.split()) for row in again.rows} == sides[1]


fields = st.sampled_from(["prompt", "chosen", "rejected", "p_chosen", "weight", "gold", "tools"])
values = st.none() | texts | st.floats() | st.lists(st.integers(), max_size=2)


@MODERATE
@given(row=st.dictionaries(fields, values))
def test_any_row_is_read_or_skipped_never_a_crash(tmp_path, row):
    good = {"prompt": "p", "chosen": "a", "rejected": "b"}
    bad = tmp_path / "bad_rows.jsonl"
    bad.unlink(missing_ok=True)
    records = read([good, row], bad_rows="skip", bad_rows_path=bad)
    skipped = records.report["bad rows skipped"]
    assert len(records) + skipped + records.report["rows merged"] == 2
    assert skipped == (len(bad.read_text().splitlines()) if bad.exists() else 0)
    assert not skipped or json.loads(bad.read_text())["row"] == 1
