"""How far can this data be trusted?  EM over any logits; annotators, flags, decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assent.auditing.result import AuditResult
    from assent.auditing.run import audit

__all__ = ["AuditResult", "audit"]


def __getattr__(name: str) -> Any:
    if name == "audit":
        from assent.auditing.run import audit

        return audit
    if name == "AuditResult":
        from assent.auditing.result import AuditResult

        return AuditResult
    raise AttributeError(f"module 'assent.auditing' has no attribute {name!r}")
