"""Functions, each as Spark has it. `handles` takes those sqlglot knows by class, `_NAMED` the others by name."""

from collections.abc import Callable

from sqlglot import exp

from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.identity import USER
from localwarehouse.translate import casts
from localwarehouse.translate.context import only
from localwarehouse.translate.expressions import Expressions, handles, shown
from localwarehouse.translate.nested import sized
from localwarehouse.translate.values import Value, failure, string
from localwarehouse.types import (
    BINARY,
    DATE,
    INT,
    STRING,
    TIMESTAMP,
    VOID,
    sql_name,
)


@handles(exp.CurrentTimestamp)
def _current_timestamp(expressions: Expressions, node: exp.Expression) -> Value:
    only(node)
    return Value(expressions.gathered.now(), TIMESTAMP)


@handles(exp.CurrentDate)
def _current_date(expressions: Expressions, node: exp.Expression) -> Value:
    only(node)
    return Value(f"CAST({expressions.gathered.now()} AS DATE)", DATE)


@handles(exp.CurrentUser, exp.SessionUser)
def _current_user(expressions: Expressions, node: exp.Expression) -> Value:
    only(node)
    return Value(string(USER), STRING)


@handles(exp.CurrentCatalog)
def _current_catalog(expressions: Expressions, node: exp.Expression) -> Value:
    return Value(string(expressions.gathered.setting.catalog), STRING)


@handles(exp.CurrentDatabase, exp.CurrentSchema)
def _current_schema(expressions: Expressions, node: exp.Expression) -> Value:
    return Value(string(expressions.gathered.setting.schema), STRING)


@handles(exp.ToBinary)
def _to_binary(expressions: Expressions, node: exp.Expression) -> Value:
    """`to_binary(text, 'base64' | 'hex' | 'utf-8')`, strict."""
    only(node, "this", "format")
    text = expressions.cast(node.this, STRING)
    form = (node.args["format"].name if node.args.get("format") is not None else "hex").lower()
    if form in ("utf-8", "utf8"):
        return text.become(f"encode({text.sql})", BINARY)
    patterns = {
        "base64": ("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", "from_base64"),
        "hex": ("([0-9A-Fa-f]{2})*", "unhex"),
    }
    if form not in patterns:
        raise Unsupported(f"to_binary with the format {form}")
    pattern, function = patterns[form]
    wrong = failure(
        "CONVERSION_INVALID_INPUT",
        f"The value '{{value}}' ({form.upper()}) cannot be converted to \"BINARY\" because it is malformed. Correct "
        "the value as per the syntax, or change its format.",
        "22018",
        text.repeated,
    )
    return text.become(
        f"CASE WHEN regexp_full_match({text.sql}, '{pattern}') IS NOT false THEN {function}({text.repeated}) "
        f"ELSE {wrong} END",
        BINARY,
    )


@handles(exp.ToBase64)
def _base64(expressions: Expressions, node: exp.Expression) -> Value:
    value = expressions.cast(node.this, BINARY)
    return value.become(f"to_base64({value.sql})", STRING)


@handles(exp.Upper, exp.Lower, exp.Trim, exp.Length)
def _text(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    value = expressions.cast(node.this, STRING)
    name = type(node).__name__.lower()
    return value.become(f"{name}({value.sql})", INT if name == "length" else STRING)


@handles(exp.Substring)
def _substring(expressions: Expressions, node: exp.Expression) -> Value:
    """`substr(text, start[, length])`, counted in characters. Spark and DuckDB disagree about a start below 1."""
    only(node, "this", "start", "length")
    text = expressions.value(node.this)
    if text.type not in (STRING, VOID):
        raise Unsupported(f'substr of "{sql_name(text.type)}"')
    places = [node.args.get("start"), node.args.get("length")]
    numbers = [int(place.name) if isinstance(place, exp.Literal) and place.name.isdigit() else -1 for place in places]
    start, length = numbers
    if start < 1 or (places[1] is not None and length < 0):
        raise Unsupported(f"{shown(node)}; only a literal start from 1 and a literal length are supported")
    cut = f"{start}" if places[1] is None else f"{start}, {length}"
    return text.become(f"substring({casts.cast(text, STRING).sql}, {cut})", STRING)


@handles(exp.Explode, exp.Posexplode)
def _misplaced_explode(expressions: Expressions, node: exp.Expression) -> Value:
    raise WarehouseError(
        "UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS",
        "The generator is not supported: nested in expressions or outside the SELECT clause.",
        "42K0E",
    )


def _assert_true(expressions: Expressions, node: exp.Expression, arguments: list[exp.Expression]) -> Value:
    """NULL, or the error: `assert_true(NULL)` fails too."""
    condition = expressions.boolean(arguments[0])
    if len(arguments) > 1:
        message = expressions.cast(arguments[1], STRING).sql
    else:
        message = string(f"'{shown(arguments[0])}' is not true!")
    wrong = failure("USER_RAISED_EXCEPTION", "{value}", "P0001", message)
    return condition.become(
        f"CASE WHEN {condition.sql} THEN CAST(NULL AS INTEGER) ELSE CAST({wrong} AS INTEGER) END", VOID
    )


def _raise_error(expressions: Expressions, node: exp.Expression, arguments: list[exp.Expression]) -> Value:
    message = expressions.cast(arguments[0], STRING)
    return message.become(failure("USER_RAISED_EXCEPTION", "{value}", "P0001", message.sql), VOID)


def _cardinality(expressions: Expressions, node: exp.Expression, arguments: list[exp.Expression]) -> Value:
    return sized(expressions, node, arguments[0])


_NAMED: dict[str, tuple[int, int, Callable[[Expressions, exp.Expression, list[exp.Expression]], Value]]] = {
    "assert_true": (1, 2, _assert_true),
    "raise_error": (1, 1, _raise_error),
    "cardinality": (1, 1, _cardinality),
}


@handles(exp.Anonymous)
def _named(expressions: Expressions, node: exp.Expression) -> Value:
    name = str(node.this).lower()
    found = _NAMED.get(name)
    if found is None:
        raise Unsupported(f"the function {name}")
    least, most, handler = found
    if not least <= len(node.expressions) <= most:
        raise WarehouseError(
            "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
            f"The `{name}` requires {least} to {most} parameters but the actual number is {len(node.expressions)}.",
            "42605",
        )
    return handler(expressions, node, node.expressions)
