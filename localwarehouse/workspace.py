"""What the workspace answers by REST: its warehouse, its user, and Unity Catalog. None of it wakes the warehouse."""

import threading
import urllib.parse
from dataclasses import replace
from typing import Any

from localwarehouse import identity
from localwarehouse.engine import Engine
from localwarehouse.scripted import Script, parse_script
from localwarehouse.unity import Answer, Unity

_UNITY = "/api/2.1/unity-catalog/"


class Workspace:
    """Every request sees one whole script."""

    def __init__(self, engine: Engine) -> None:
        self._unity = Unity(engine)
        self._script = Script()
        self._guard = threading.Lock()

    def say(self, document: Any) -> None:
        """From now on the workspace is as this says. Raises InvalidRule."""
        script = parse_script(document)
        with self._guard:
            self._script = script

    def forget(self) -> None:
        self.say({})

    def wake(self) -> None:
        """A stopped warehouse is started by the first that speaks to it."""
        with self._guard:
            self._script = replace(self._script, state="RUNNING")

    def answer(self, url: urllib.parse.SplitResult) -> Answer | None:
        """Status and body of a GET; None if there is no such path."""
        script = self._script
        if url.path == f"/api/2.0/sql/warehouses/{identity.WAREHOUSE_ID}":
            return 200, identity.warehouse(script.state)
        if url.path == "/api/2.0/preview/scim/v2/Me":
            return 200, identity.me(script.groups)
        if not url.path.startswith(_UNITY):
            return None
        steps = [urllib.parse.unquote(step) for step in url.path.removeprefix(_UNITY).split("/")]
        query = dict(urllib.parse.parse_qsl(url.query))
        match steps:
            case ["metastore_summary"]:
                return self._unity.metastore(script)
            case ["catalogs" | "schemas" | "tables" as kinds, name]:
                return self._unity.look(script, kinds.removesuffix("s"), name.lower())
            case ["effective-permissions", kind, name]:
                return self._unity.permissions(script, kind.lower(), name.lower(), query)
            case _:
                return None
