"""Scripted faults: rules that pick a request and say what goes wrong with it."""

import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from localwarehouse.errors import WarehouseError
from localwarehouse.operations import Operation

Action = Literal[
    "drop_before", "drop_after", "delay", "hold", "status", "forget_session", "error", "refuse", "cold_start"
]  # fmt: skip
"""`error` ends the statement in an error, `refuse` answers the request itself by one."""

_STATUSES = (400, 401, 403, 413, 429, 500, 502, 503, 504)
# How soon a held statement notices that it was cancelled.
_NOTICE_S = 0.02
_DEFAULT_ERROR = {
    "error_class": "DELTA_CONCURRENT_APPEND",
    "sqlstate": "2D521",
    "message": "ConcurrentAppendException: Files were added by a concurrent update. Please try the operation again.",
}


class InvalidRule(ValueError):
    """A rule that says nothing sensible; its text goes back to whoever posted it."""


class DropConnection(Exception):
    """The TCP connection is to be closed without a reply."""


class HttpStatus(Exception):
    """The request is answered by this status in place of a Thrift reply."""

    def __init__(self, status: int, retry_after_s: int | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass
class Rule:
    action: Action
    on: str
    match: re.Pattern[str] | None
    values: re.Pattern[str] | None
    times: int | None
    after: int
    probability: float
    seconds: float
    status: int
    retry_after_s: int | None
    executed: bool
    error: WarehouseError
    chance: random.Random

    def takes(self, rpc: str, text: str | None, values: str) -> bool:
        """Whether this request is one of the rule's; counts it."""
        if self.on != "any" and self.on != rpc:
            return False
        if self.match is not None and (text is None or self.match.search(text) is None):
            return False
        if self.values is not None and self.values.search(values) is None:
            return False
        if self.times == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.probability < 1 and self.chance.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        return True


_KEYS = {
    "on", "match", "values", "times", "after", "probability", "action", "seconds", "status", "retry_after", "executed",
    "error_class", "sqlstate", "message", "seed",
}  # fmt: skip


def parse_rule(document: Any) -> Rule:
    if not isinstance(document, dict):
        raise InvalidRule("a rule is a JSON object")
    unknown = set(document) - _KEYS
    if unknown:
        raise InvalidRule(f"unknown keys: {', '.join(sorted(unknown))}")
    action = document.get("action")
    if action not in get_args(Action):
        raise InvalidRule(f"action must be one of {', '.join(get_args(Action))}")
    status = document.get("status", 503)
    if status not in _STATUSES:
        raise InvalidRule(f"status must be one of {_STATUSES}")
    described = {key: str(document.get(key, default)) for key, default in _DEFAULT_ERROR.items()}
    try:
        return Rule(
            action=cast(Action, action),
            on=str(document.get("on", "ExecuteStatement")),
            match=re.compile(document["match"], re.DOTALL) if document.get("match") is not None else None,
            values=re.compile(document["values"], re.DOTALL) if document.get("values") is not None else None,
            times=int(document["times"]) if document.get("times") is not None else None,
            after=int(document.get("after", 0)),
            probability=float(document.get("probability", 1)),
            seconds=float(document.get("seconds", 0)),
            status=status,
            retry_after_s=int(document["retry_after"]) if document.get("retry_after") is not None else None,
            executed=bool(document.get("executed", False)),
            error=WarehouseError(described["error_class"], described["message"], described["sqlstate"]),
            chance=random.Random(document.get("seed")),
        )
    except (TypeError, ValueError, re.error) as exc:
        raise InvalidRule(str(exc)) from exc


class Faults:
    """The rules in force, the statements they hold, and the cold start they began."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._rules: list[Rule] = []
        self._held: list[threading.Event] = []
        self._cold_until = 0.0
        self._injected: Counter[str] = Counter()

    def add(self, documents: Any) -> None:
        given = documents if isinstance(documents, list) else [documents]
        rules = [parse_rule(document) for document in given]
        with self._guard:
            self._rules.extend(rules)

    def clear(self) -> None:
        """No more rules, nothing held, warm again."""
        with self._guard:
            self._rules.clear()
            self._cold_until = 0.0
        self.release()

    def release(self) -> int:
        with self._guard:
            held, self._held = self._held, []
        for event in held:
            event.set()
        return len(held)

    def held(self) -> int:
        with self._guard:
            return len(self._held)

    def injected(self) -> dict[str, int]:
        """How many requests met a rule since the start, by action; a status by its number."""
        with self._guard:
            return dict(self._injected)

    def pick(self, rpc: str, text: str | None, values: str = "") -> Rule | None:
        """The first rule that takes this request, by its statement and its bound values, a line each.

        A cold warehouse answers none.
        """
        with self._guard:
            remaining_s = self._cold_until - time.monotonic()
            if remaining_s > 0:
                self._injected["cold_start"] += 1
                raise HttpStatus(503, 1)
            rule = next((rule for rule in self._rules if rule.takes(rpc, text, values)), None)
            if rule is not None:
                self._injected[f"status_{rule.status}" if rule.action == "status" else rule.action] += 1
            if rule is not None and rule.action == "cold_start":
                self._cold_until = time.monotonic() + rule.seconds
                raise HttpStatus(503, 1)
            return rule

    def wait(self, rule: Rule, operation: Operation | None) -> None:
        """The time in the queue that a `hold` or a `delay` adds; a cancelled statement leaves it."""
        event = threading.Event()
        deadline = time.monotonic() + rule.seconds if rule.action == "delay" else None
        if deadline is None:
            with self._guard:
                self._held.append(event)
        try:
            while not event.is_set() and (deadline is None or time.monotonic() < deadline):
                if operation is not None:
                    operation.running.check()
                left_s = _NOTICE_S if deadline is None else min(_NOTICE_S, max(0.0, deadline - time.monotonic()))
                event.wait(left_s)
        finally:
            with self._guard:
                if event in self._held:
                    self._held.remove(event)
