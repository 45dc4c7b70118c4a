"""Wrappers for noisy labels, and the estimation of reliabilities."""

from assent.robust.lcpo import LCPO
from assent.robust.smooth import Smooth
from assent.robust.unbiased import Unbiased

__all__ = ["LCPO", "Smooth", "Unbiased"]
