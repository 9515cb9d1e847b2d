"""Strings planted as values and credentials, and the search for them."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

PLANTED = "plantedstring"
"""All of them begin with it, so that a part of one is found as well."""


def planted(where: str) -> str:
    return f"{PLANTED}-{where}-{uuid4().hex[:6]}"


def found_in(text: str) -> list[str]:
    """The planted strings in a text, each with what stands before it."""
    return [f"{before[-150:]}{PLANTED}{after[:40]}" for before, after in pairwise(text.split(PLANTED))]
