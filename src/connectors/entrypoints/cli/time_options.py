"""Instants and durations: how options give them and tables show them."""

import re
from datetime import datetime, timedelta

import click

from connectors.domain.model.instant import read_instant

UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
"""The units of a duration."""

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)


def instant(text: str) -> datetime:
    """The instant that an option gives (RFC 3339 with a zone). For `type=` of an option."""
    at = read_instant(text)
    if at is None:
        raise click.BadParameter("expected RFC 3339 with a zone, for example 2026-01-02T03:04:05Z")
    return at


def duration(text: str) -> timedelta:
    """The duration that an option gives (a number and its unit). For `type=` of an option."""
    match = _DURATION.fullmatch(text)
    try:
        named = timedelta(0) if match is None else float(match[1]) * UNITS[match[2]]
    except OverflowError:
        named = timedelta(0)
    if named <= timedelta(0):
        raise click.BadParameter("expected a number and its unit (ms, s, m, h, d), for example 90s or 5m")
    return named


def show_instant(at: datetime) -> str:
    """The instant to the second, as tables show it."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
