"""What doctor finds: one line each, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mark = Literal["ok", "warn", "FAIL", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `remedy` says what to do, where something is wrong."""

    mark: Mark
    what: str
    told: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.mark:<4} {self.what:<12} {self.told}"
        return f"{line}\n     {'':<12} -> {self.remedy}" if self.remedy else line


def short(exc: Exception) -> str:
    """The SDK adds its configuration to what was answered: that is left out."""
    return f"{type(exc).__name__}: {str(exc).partition(' Config: ')[0][:200]}"
