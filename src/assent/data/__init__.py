"""Files and hub ids to examples, examples to tokens; everything that was dropped, cut or repaired is counted."""

from __future__ import annotations

from assent.data.reading import Records, iter_rows, read
from assent.data.report import Report

__all__ = ["Records", "Report", "iter_rows", "read"]
