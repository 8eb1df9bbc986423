"""The subset of JQL that the sandbox supports: clauses joined by AND, and an order."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from connectors_sandbox.jira.records import Issue

ORDER: Final = re.compile(r"\border\s+by\b", re.IGNORECASE)
AND: Final = re.compile(r"\s+and\s+", re.IGNORECASE)
CLAUSE: Final = re.compile(
    r"(?P<field>[A-Za-z.]+|cf\[\d+\])\s*(?P<operator>>=|<=|!=|=|>|<|not\s+in\b|in\b)\s*(?P<value>\(.*\)|\"[^\"]*\"|'[^']*'|[^\s()]+)",
    re.IGNORECASE,
)
HOOK_FIELDS: Final = frozenset(
    {"issuekey", "project", "issuetype", "status", "priority", "assignee", "reporter", "issue.property"}
)
HOOK_OPERATORS: Final = frozenset({"=", "!=", "in", "not in"})
MAX_ORDER_FIELDS: Final = 7


class JqlError(Exception):
    """The query cannot be parsed; the message is for Jira's `errorMessages`."""


@attrs.frozen
class Clause:
    """One comparison."""

    field: str
    operator: str
    values: tuple[str, ...]
    is_quoted: bool


@attrs.frozen
class Query:
    """A parsed query."""

    clauses: tuple[Clause, ...]
    order: tuple[tuple[str, bool], ...]
    """(field, descending) pairs."""


def parse(text: str) -> Query:
    """The parsed query.

    Raises:
        JqlError: it is unbounded, or not supported by the sandbox.
    """
    where, *rest = ORDER.split(text, maxsplit=1)
    if not where.strip():
        raise JqlError("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
    return Query(tuple(_clause(part) for part in AND.split(where.strip())), _order(rest[0] if rest else ""))


def check_hook_filter(text: str) -> Query:
    """The filter of a dynamic webhook, which may use only a subset.

    Raises:
        JqlError: it uses more.
    """
    if ORDER.search(text):
        raise JqlError("The ORDER BY clause is unsupported")
    query = parse(text)
    for clause in query.clauses:
        if clause.field not in HOOK_FIELDS and not clause.field.startswith("cf["):
            raise JqlError(f"The clause {clause.field} is unsupported")
        if clause.operator not in HOOK_OPERATORS:
            raise JqlError(f"The operator {clause.operator} is unsupported")
    return query


def matches(query: Query, issue: Issue, time_zone: str) -> bool:
    """Whether the issue matches; quoted dates are in the user's time zone, numbers are epoch milliseconds."""
    return all(_fits(clause, issue, time_zone) for clause in query.clauses)


def sort(query: Query, issues: list[Issue]) -> list[Issue]:
    """In the query's order; sorted by the last field first, so that the first one wins."""
    keys: dict[str, Callable[[Issue], object]] = {
        "updated": lambda one: one.updated,
        "created": lambda one: one.created,
        "id": lambda one: int(one.id),
        "key": lambda one: int(one.id),
    }
    found = sorted(issues, key=lambda one: int(one.id), reverse=True)
    for field, is_descending in reversed(query.order):
        found.sort(key=keys[field], reverse=is_descending)  # type: ignore[arg-type]  # each key gives one comparable type
    return found


def _clause(text: str) -> Clause:
    found = CLAUSE.fullmatch(text.strip())
    if found is None:
        raise JqlError(f"Error in the JQL Query: '{text.strip()[:60]}' is not understood.")
    value = found["value"]
    parts = value[1:-1].split(",") if value.startswith("(") else [value]
    values = tuple(part.strip().strip("\"'") for part in parts)
    operator = " ".join(found["operator"].lower().split())
    return Clause(found["field"].lower(), operator, values, is_quoted=value[0] in "\"'")


def _order(text: str) -> tuple[tuple[str, bool], ...]:
    if not text.strip():
        return ()
    fields = []
    for part in text.split(","):
        words = part.split()
        if not words or words[0].lower() not in {"updated", "created", "id", "key"}:
            raise JqlError("The ORDER BY clause is not understood.")
        fields.append((words[0].lower(), len(words) > 1 and words[1].lower() == "desc"))
    if len(fields) > MAX_ORDER_FIELDS:
        raise JqlError("The maximum number of fields in the ORDER BY clause is 7.")
    return tuple(fields)


def _fits(clause: Clause, issue: Issue, time_zone: str) -> bool:
    match clause.field:
        case "updated" | "created":
            moment = issue.updated if clause.field == "updated" else issue.created
            return _compare(moment, clause, _instant(clause, time_zone))
        case "project":
            own = {issue.project.id, issue.project.key}
        case "id" | "key" | "issuekey" | "issue":
            own = {issue.id, issue.key}
        case "status":
            own = {issue.status.id, issue.status.name}
        case "assignee":
            own = {issue.assignee.account_id} if issue.assignee else set()
        case "priority":
            own = {issue.priority}
        case "issuetype":
            own = {"10100", "Task"}
        case "reporter":
            own = {issue.creator.account_id}
        case _:
            raise JqlError(f"Field '{clause.field}' does not exist or you do not have permission to view it.")
    is_in = bool(own & set(clause.values))
    return is_in if clause.operator in {"=", "in"} else not is_in


def _instant(clause: Clause, time_zone: str) -> datetime:
    (text,) = clause.values
    if not clause.is_quoted and text.lstrip("-").isdigit():
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    for pattern in ("%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M", "%Y-%m-%d", "%Y/%m/%d"):
        try:
            return datetime.strptime(text, pattern).replace(tzinfo=ZoneInfo(time_zone))
        except ValueError:
            continue
    raise JqlError(f"Date value '{text[:40]}' for field '{clause.field}' is invalid.")


def _compare(moment: datetime, clause: Clause, bound: datetime) -> bool:
    match clause.operator:
        case ">=":
            return moment >= bound
        case "<=":
            return moment <= bound
        case ">":
            return moment > bound
        case "<":
            return moment < bound
    raise JqlError(f"The operator '{clause.operator}' is not supported by the '{clause.field}' field.")
