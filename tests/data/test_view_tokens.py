"""Views in tokens: the same ids as tokenising them alone, what is absent counted, what nobody has refused."""

from __future__ import annotations

import pytest
from chat_templates import CHATML

from assent import AssentError
from assent.data import read, tokenise
from assent.data.revision_views import revision_prompt
from assent.data.view_tokens import with_views
from assent.objectives.base import Need
from assent.objectives.srpo import CONTEXTS

SRPO = [Need("view", name) for name in CONTEXTS]
ROWS = [
    {"prompt": "sky ?", "chosen": " blue", "rejected": " green", "rationale": "so blue is sky"},
    {"prompt": "two plus two ?", "chosen": " four .", "rejected": " five"},
]


def rows_with(tokenizer, rows, wanted, **options):
    records = read(rows)
    return with_views(tokenise(records, tokenizer, **options), records, tokenizer, wanted)


def test_a_view_has_the_ids_of_its_own_row(bytes_bpe) -> None:
    tokenizer = bytes_bpe()
    found = rows_with(tokenizer, ROWS, SRPO)
    prompt = revision_prompt("sky ?", " green")
    alone = tokenise(read([{"prompt": prompt, "completion": " blue"}]), tokenizer).rows[0].sequence
    view = found.rows[0].views["chosen|rejected"]
    assert view.sequence.ids.tolist() == alone.ids.tolist() and view.sequence.mask.tolist() == alone.mask.tolist()
    assert view.scored and view.sequence.prompt_length == alone.prompt_length
    assert found.rows[1].views.keys() == set(CONTEXTS) and found.report["end added"] == 4, "repairs are told once"


def test_messages_go_through_the_chat_template(words) -> None:
    say = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
    rows = [{"prompt": say("user", "sky ?"), "chosen": say("assistant", "blue"), "rejected": say("assistant", "green")}]
    view = rows_with(words(CHATML), rows, SRPO).rows[0].views["rejected|chosen"].sequence
    tokens = words(CHATML).convert_ids_to_tokens(view.ids.tolist())
    assert tokens.count("<|im_start|>") == 4, "user, answer, request, revision"
    assert [t for t, m in zip(tokens, view.mask, strict=True) if m] == ["green", "<|im_end|>"]


def test_rows_without_a_view_are_kept_and_counted(bytes_bpe) -> None:
    found = rows_with(bytes_bpe(), ROWS, [Need("view", "rationale")])
    assert [set(row.views) for row in found.rows] == [{"rationale"}, set()]
    assert found.report["views without signal"] == 1 and found.report["views too long"] == 0
    short = rows_with(bytes_bpe(), ROWS, SRPO, max_length=20)
    assert short.report["views too long"] == 0, "prompts are cut before a view is given up"
    with pytest.raises(AssentError, match=r"no row has the view 'rationale'.*add a column 'rationale'"):
        rows_with(bytes_bpe(), ROWS[1:], [Need("view", "rationale")])


def test_mismatched_completions_stand_under_another_prompt(bytes_bpe) -> None:
    tokenizer = bytes_bpe()
    rows = [{"prompt": f"{w} ?", "completion": f" {w}", "label": w == "sky"} for w in ("sky", "blue", "green")]
    found = rows_with(tokenizer, rows, [Need("view", "mismatched")])
    for row, source in zip(found.rows, rows, strict=True):
        text = tokenizer.decode(row.views["mismatched"].sequence.ids.tolist(), skip_special_tokens=True)
        assert text.endswith(source["completion"]) and not text.startswith(source["prompt"])
