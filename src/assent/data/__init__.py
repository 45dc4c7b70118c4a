"""Files and hub ids to examples, examples to tokens; everything that was dropped, cut or repaired is counted."""

from __future__ import annotations

from assent.data.reading import Records, iter_rows, read
from assent.data.report import Report
from assent.data.splitting import overlap, split_by_prompt
from assent.data.tokens import (
    TokenExample,
    TokenGroup,
    Tokenised,
    TokenPair,
    TokenSequence,
    branch_point,
    tokenise,
)

__all__ = [
    "Records",
    "Report",
    "TokenExample",
    "TokenGroup",
    "TokenPair",
    "TokenSequence",
    "Tokenised",
    "branch_point",
    "iter_rows",
    "overlap",
    "read",
    "split_by_prompt",
    "tokenise",
]
