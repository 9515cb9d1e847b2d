"""Plans and parsed engine statements, kept for the texts that come again and again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

import duckdb

from localwarehouse.catalog import Catalogs
from localwarehouse.plans import EngineSql, Plan
from localwarehouse.translate.context import Setting
from localwarehouse.translate.statements import translate
from localwarehouse.types import DataType

_KEPT = 500
# Longer texts carry literals and come once.
_KEPT_TEXT = 100_000
_Kept = TypeVar("_Kept")


class _Recent(Generic[_Kept]):
    """The values used last; made outside the lock, since making one takes milliseconds."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._values: OrderedDict[Hashable, _Kept] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        with self._guard:
            known = self._values.get(key)
            if known is not None:
                self._values.move_to_end(key)
                return known
        made = make()
        with self._guard:
            self._values[key] = made
            while len(self._values) > _KEPT:
                self._values.popitem(last=False)
        return made


class Planner:
    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        self._database = database
        self._parser_guard = threading.Lock()
        self._plans: _Recent[Plan] = _Recent()
        self._parsed: _Recent[duckdb.Statement] = _Recent()

    def plan(
        self, catalogs: Catalogs, text: str, parameters: Mapping[str, DataType], catalog: str, schema: str
    ) -> Plan:
        """The statement's plan against these names."""

        def make() -> Plan:
            return translate(Setting(catalogs, parameters, catalog, schema), text)

        if len(text) > _KEPT_TEXT:
            return make()
        return self._plans.get((catalogs.version, catalog, schema, text, frozenset(parameters.items())), make)

    def parsed(self, sql: EngineSql) -> "duckdb.Statement | str":
        """What DuckDB runs; parsing a wide INSERT again would cost as much as a third of running it."""
        if len(sql.text) > _KEPT_TEXT:
            return sql.text
        return self._parsed.get(sql.text, lambda: self._parse(sql.text))

    def statement(self, sql: EngineSql) -> duckdb.Statement:
        """The same for one that is asked for its placeholders."""
        parsed = self.parsed(sql)
        return self._parse(parsed) if isinstance(parsed, str) else parsed

    def _parse(self, text: str) -> duckdb.Statement:
        with self._parser_guard:
            (statement,) = self._database.extract_statements(text)
        return statement
