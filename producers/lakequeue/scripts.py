"""The texts of the scripts that Redis runs, this package's and the worker's."""

from __future__ import annotations

import re
from importlib import resources

_INCLUDE = re.compile(r"^-- include (\w+)/(\w+)\n", re.MULTILINE)


def read_script(package: str, name: str) -> str:
    """A package's `lua/NAME.lua`, in which a line `-- include PACKAGE/NAME` stands for the whole of another file."""
    text = resources.files(package).joinpath(f"lua/{name}.lua").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: read_script(found[1], found[2]), text)
