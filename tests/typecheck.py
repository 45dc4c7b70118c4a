"""The type checker of the test run: beartype that takes an int where a float is expected."""

from __future__ import annotations

from typing import Any

from beartype import BeartypeConf, beartype

check: Any = beartype(conf=BeartypeConf(is_pep484_tower=True))
