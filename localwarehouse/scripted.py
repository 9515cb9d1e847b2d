"""What a test says of the workspace: the warehouse's state, the user's groups, and who owns what and may do what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from localwarehouse.faults import InvalidRule
from localwarehouse.identity import USER, State

Kind = str
"""Of a securable, as in a path: metastore, catalog, schema or table."""

KINDS = ("metastore", "catalog", "schema", "table")
ALL = "ALL_PRIVILEGES"
EVERYBODY = "account users"


@dataclass(frozen=True)
class Securable:
    """`told` goes over what is answered of it otherwise. Who asks what those in `closed_to` may do is refused; with a
    `status` other than 200, whoever asks anything."""

    owner: str = USER
    privileges: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {USER: (ALL,)})
    told: Mapping[str, Any] = field(default_factory=dict)
    closed_to: frozenset[str] = frozenset()
    status: int = 200


@dataclass(frozen=True)
class Script:
    """Without one the warehouse runs, and the user owns everything."""

    state: State = "RUNNING"
    groups: tuple[str, ...] = ()
    securables: Mapping[tuple[Kind, str], Securable] = field(default_factory=dict)

    def of(self, kind: Kind, name: str) -> Securable:
        return self.securables.get((kind, name), Securable())

    def assignments(self, kind: Kind, name: str) -> dict[str, list[dict[str, str]]]:
        """Who holds what on it: its own privileges, then those granted above it. Only what is scripted is inherited."""
        held: dict[str, list[dict[str, str]]] = {}
        for principal, privileges in self.of(kind, name).privileges.items():
            held.setdefault(principal, []).extend({"privilege": each} for each in privileges)
        for above, over in _above(kind, name):
            if (above, over) not in self.securables:
                continue
            for principal, privileges in self.of(above, over).privileges.items():
                held.setdefault(principal, []).extend(
                    {"privilege": each, "inherited_from_type": above.upper(), "inherited_from_name": over}
                    for each in privileges
                )
        return held

    def owns(self, kind: Kind, name: str) -> bool:
        return self.of(kind, name).owner.casefold() in {each.casefold() for each in self.mine()}

    def may(self, privilege: str, kind: Kind, name: str) -> bool:
        """Whether the user may, by itself or by a group."""
        held = self.assignments(kind, name)
        return any(each["privilege"] in (privilege, ALL) for who in self.mine() for each in held.get(who, ()))

    def mine(self) -> tuple[str, ...]:
        """The principals whose privileges the user has."""
        return (USER, *self.groups, EVERYBODY)


def _above(kind: Kind, name: str) -> list[tuple[Kind, str]]:
    """What privileges are inherited from; the metastore's are not."""
    parts = name.split(".")
    return [(KINDS[depth], ".".join(parts[:depth])) for depth in range(KINDS.index(kind) - 1, 0, -1)]


def parse_script(document: Any) -> Script:
    """Raises InvalidRule: what makes no sense in it."""
    given = _object(document, {"state", "groups", "securables"})
    state = given.get("state", "RUNNING")
    if state not in get_args(State):
        raise InvalidRule(f"state must be one of {', '.join(get_args(State))}")
    try:
        securables = dict(_securable(each) for each in given.get("securables", ()))
        return Script(state, tuple(map(str, given.get("groups", ()))), securables)
    except (TypeError, ValueError) as exc:
        raise InvalidRule(str(exc)) from exc


def _securable(document: Any) -> tuple[tuple[Kind, str], Securable]:
    said = _object(document, {"kind", "name", "owner", "privileges", "told", "closed_to", "status"})
    if said.get("kind") not in KINDS or not isinstance(said.get("name"), str):
        raise InvalidRule(f"a securable has a name and a kind: {', '.join(KINDS)}")
    privileges = _object(said.get("privileges", {}))
    return (said["kind"], said["name"].lower()), Securable(
        owner=str(said.get("owner", "somebody@else")),
        privileges={principal: tuple(map(str, held)) for principal, held in privileges.items()},
        told=_object(said.get("told", {})),
        closed_to=frozenset(map(str, said.get("closed_to", ()))),
        status=int(said.get("status", 200)),
    )


def _object(document: Any, keys: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise InvalidRule("a JSON object is expected")
    if keys is not None and set(document) - keys:
        raise InvalidRule(f"unknown keys: {', '.join(sorted(set(document) - keys))}")
    return document
