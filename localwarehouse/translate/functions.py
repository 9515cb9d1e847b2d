"""Functions, each as Spark has it. `handles` takes those sqlglot knows by class, `_NAMED` the others by name."""

from collections.abc import Callable

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.identity import USER
from localwarehouse.translate.context import Visible, only
from localwarehouse.translate.expressions import Expressions, handles, of_rows, shown, unify
from localwarehouse.translate.values import Value, failure, string
from localwarehouse.types import (
    BIGINT,
    BINARY,
    DATE,
    DOUBLE,
    FRACTIONS,
    INT,
    INTEGRALS,
    STRING,
    TIMESTAMP,
    VOID,
    Array,
    DataType,
    Decimal,
    Field,
    Map,
    Struct,
    duckdb_name,
    identifier,
    parse_type_text,
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


@handles(exp.FromJson)
def _from_json(expressions: Expressions, node: exp.Expression) -> Value:
    """`from_json` in FAILFAST mode, of arrays and structs whose scalars are all STRING.

    Its other modes turn what they cannot read into NULL, or a truncated document into no rows at all; typed
    scalars would be rounded by DuckDB. A STRING is what both read alike, and a CAST is strict here.
    """
    only(node, "this", "expression", "options")
    schema = node.expression
    if not isinstance(schema, exp.Literal) or not schema.is_string:
        raise Unsupported("from_json with a schema that is no string literal")
    if _options(node.args.get("options")) != {"mode": "FAILFAST"}:
        raise Unsupported("from_json without map('mode', 'FAILFAST')")
    data_type = parse_type_text(schema.name)
    if not isinstance(data_type, Array | Struct):
        raise Unsupported(f"from_json with the schema {schema.name}")
    text = expressions.cast(node.this, STRING)
    form = _json_form(data_type)
    return text.become(
        f"json_transform_strict(CASE WHEN trim({text.sql}) <> '' THEN {text.repeated} END, {string(form)})", data_type
    )


def _options(node: exp.Expression | None) -> dict[str, str]:
    if not isinstance(node, exp.VarMap):
        return {}
    keys, values = node.args["keys"].expressions, node.args["values"].expressions
    return {key.name.lower(): value.name.upper() for key, value in zip(keys, values, strict=True)}


def _json_form(data_type: DataType) -> str:
    match data_type:
        case Array(element):
            return f"[{_json_form(element)}]"
        case Struct(fields):
            inner = ",".join(f"{_json_string(field.name)}:{_json_form(field.type)}" for field in fields)
            return "{" + inner + "}"
        case _ if data_type == STRING:
            return '"VARCHAR"'
        case _:
            raise Unsupported(f"from_json with a {sql_name(data_type)} inside; use STRING and CAST")


def _json_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@handles(exp.Transform)
def _transform(expressions: Expressions, node: exp.Expression) -> Value:
    """`transform(array, e -> …)` and `transform(array, (e, i) -> …)`, where i counts from 0."""
    only(node, "this", "expression")
    source = expressions.value(node.this)
    function = node.expression
    if not isinstance(source.type, Array):
        raise errors.type_mismatch(shown(node), "an ARRAY is required")
    if not isinstance(function, exp.Lambda) or not 1 <= len(function.expressions) <= 2:
        raise Unsupported(f"the expression {shown(node)}")
    # Names of their own: DuckDB would take a column of the same name for a parameter's.
    names = [f"e{expressions.gathered.relation()}" for _ in function.expressions]
    types = (source.type.element, INT)
    # DuckDB counts from 1.
    reads = (names[0], f"CAST({names[-1]} - 1 AS INTEGER)")
    variables = tuple(
        Visible(parameter.name, read, data_type)
        for parameter, read, data_type in zip(function.expressions, reads, types, strict=False)
    )
    body = expressions.within(expressions.scope.with_variables(variables)).value(function.this)
    return source.become(f"list_transform({source.sql}, lambda {', '.join(names)}: {body.sql})", Array(body.type))


@handles(exp.MapFromEntries)
def _map_from_entries(expressions: Expressions, node: exp.Expression) -> Value:
    entries = expressions.value(node.this)
    match entries.type:
        case Array(Struct((key, item))):
            # DuckDB wants the fields by its own names, Spark goes by their order.
            pairs = (
                f"list_transform({entries.sql}, lambda pair: {{'key': struct_extract(pair, {string(key.name)}), "
                f"'value': struct_extract(pair, {string(item.name)})}})"
            )
            return entries.become(f"map_from_entries({pairs})", Map(key.type, item.type))
        case _:
            raise errors.type_mismatch(shown(node), "an ARRAY of STRUCTs with two fields is required")


@handles(exp.Struct)
def _struct(expressions: Expressions, node: exp.Expression) -> Value:
    fields: list[tuple[str, Value]] = []
    for position, part in enumerate(node.expressions, 1):
        if isinstance(part, exp.PropertyEQ | exp.Alias):
            name = part.this.name if isinstance(part, exp.PropertyEQ) else part.alias
            inner = part.expression if isinstance(part, exp.PropertyEQ) else part.this
            fields.append((name, expressions.value(inner)))
        else:
            fields.append((part.name if isinstance(part, exp.Column) else f"col{position}", expressions.value(part)))
    if not fields:
        raise Unsupported("an empty struct")
    parts = ", ".join(f"{identifier(name)} := {_typed(value)}" for name, value in fields)
    return Value(
        f"struct_pack({parts})",
        Struct(tuple(Field(name, value.type) for name, value in fields)),
        of_rows(*(value for _, value in fields)),
    )


def _typed(value: Value) -> str:
    return f"CAST({value.sql} AS {duckdb_name(value.type)})" if value.sql == "NULL" else value.sql


@handles(exp.Array)
def _array(expressions: Expressions, node: exp.Expression) -> Value:
    values, common = unify(expressions.values(node.expressions), shown(node))
    listed = ", ".join(value.sql for value in values)
    return Value(f"CAST([{listed}] AS {duckdb_name(common)}[])", Array(common), of_rows(*values))


@handles(exp.VarMap, exp.Map)
def _map(expressions: Expressions, node: exp.Expression) -> Value:
    keys = expressions.value(node.args["keys"])
    values = expressions.value(node.args["values"])
    if not isinstance(keys.type, Array) or not isinstance(values.type, Array):
        raise Unsupported(f"the expression {shown(node)}")
    return Value(f"map({keys.sql}, {values.sql})", Map(keys.type.element, values.type.element), of_rows(keys, values))


@handles(exp.ArraySize)
def _size(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    return _sized(expressions, node, node.this)


def _sized(expressions: Expressions, node: exp.Expression, argument: exp.Expression | None) -> Value:
    value = expressions.value(argument)
    if isinstance(value.type, Array):
        return value.become(f"CAST(len({value.sql}) AS INTEGER)", INT)
    if isinstance(value.type, Map):
        return value.become(f"CAST(cardinality({value.sql}) AS INTEGER)", INT)
    raise errors.type_mismatch(shown(node), "an ARRAY or a MAP is required")


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


@handles(exp.Explode)
def _misplaced_explode(expressions: Expressions, node: exp.Expression) -> Value:
    raise WarehouseError(
        "UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS",
        "The generator is not supported: nested in expressions or outside the SELECT clause.",
        "42K0E",
    )


@handles(exp.Count)
def _count(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "big_int")
    counted = node.this
    if isinstance(counted, exp.Star):
        only(counted)
        return Value("count(*)", BIGINT, True)
    distinct = ""
    if isinstance(counted, exp.Distinct):
        if len(counted.expressions) != 1:
            raise Unsupported("count(DISTINCT …) of several columns")
        distinct, counted = "DISTINCT ", counted.expressions[0]
    return Value(f"count({distinct}{expressions.value(counted).sql})", BIGINT, True)


@handles(exp.Sum)
def _sum(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    value = expressions.value(node.this)
    if value.type in INTEGRALS:
        # DuckDB widens to 128 bits; Spark stays with 64 and fails.
        return Value(f"CAST(sum({value.sql}) AS BIGINT)", BIGINT, True)
    if value.type in FRACTIONS:
        return Value(f"sum(CAST({value.sql} AS DOUBLE))", DOUBLE, True)
    if isinstance(value.type, Decimal):
        total = Decimal(min(38, value.type.precision + 10), value.type.scale)
        return Value(f"CAST(sum({value.sql}) AS {duckdb_name(total)})", total, True)
    raise errors.type_mismatch(shown(node), "a number is required")


@handles(exp.Avg)
def _average(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    value = expressions.value(node.this)
    if value.type in INTEGRALS or value.type in FRACTIONS:
        return Value(f"avg({value.sql})", DOUBLE, True)
    raise Unsupported(f'avg of "{sql_name(value.type)}"')


@handles(exp.Min, exp.Max)
def _extreme(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    value = expressions.value(node.this)
    if isinstance(value.type, Map):
        raise errors.type_mismatch(shown(node), "maps have no order")
    return Value(f"{type(node).__name__.lower()}({value.sql})", value.type, True)


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
    return _sized(expressions, node, arguments[0])


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
