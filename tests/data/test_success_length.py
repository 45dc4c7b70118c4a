"""CoLoR's pair rule by hand."""

from __future__ import annotations

from assent.data.success_length import success_length_pairs
from assent.records import Group


def _rule(scores: tuple[float, ...], *texts: str, hard: bool = False) -> list[tuple[str, str]]:
    group = Group("q", texts, scores, weight=2.0, row=7)
    return [(p.chosen, p.rejected) for p in success_length_pairs([group], hard=hard)]


def test_the_shortest_success_before_the_longest_failure() -> None:
    assert _rule((1.0, 1.0, 0.0, 0.0), "aaaa", "aa", "b", "bbb") == [("aa", "bbb")]
    # the chosen one may be the longer one
    assert _rule((1.0, 0.0, 0.0), "aaaaaa", "b", "bb") == [("aaaaaa", "bb")]


def test_all_alike_go_by_length_unless_hard() -> None:
    assert _rule((1.0, 1.0, 1.0), "aaaa", "aa", "aaa") == [("aa", "aaaa")]
    assert _rule((0.0, 0.0, 0.0), "aaaa", "aa", "aaa") == [("aa", "aaaa")]
    assert _rule((0.0, 0.0, 0.0), "aaaa", "aa", "aaa", hard=True) == []
    assert _rule((1.0, 1.0), "aaaa", "aa", hard=True) == [("aa", "aaaa")]


def test_what_nothing_tells_apart_gives_no_pair() -> None:
    assert _rule((1.0, 1.0), "aa", "aa") == [] and _rule((1.0, 1.0), "aa", "ba") == []
    # success and failure of the same text contradict each other
    assert _rule((1.0, 0.0), "aa", "aa") == []
    assert _rule((1.0, 0.0), "aa", "ba") == [("aa", "ba")]


def test_the_order_of_candidates_does_not_matter_and_facts_come_along() -> None:
    assert _rule((0.0, 1.0, 1.0), "bbb", "aa", "aaaa") == _rule((1.0, 1.0, 0.0), "aaaa", "aa", "bbb")
    (pair,) = success_length_pairs([Group("q", ("aa", "b"), (1.0, 0.0), weight=2.0, row=7)])
    assert (pair.weight, pair.labels[0].rows, pair.score_chosen, pair.score_rejected) == (2.0, (7,), 1.0, 0.0)


def test_messages_are_measured_by_their_words() -> None:
    said = [[{"role": "assistant", "content": text}] for text in ("long text", "short")]
    (pair,) = success_length_pairs([Group([{"role": "user", "content": "q"}], tuple(said), (1.0, 1.0))])
    assert pair.chosen == said[1] and pair.rejected == said[0]
