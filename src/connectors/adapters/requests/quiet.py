"""Keeping the HTTP and OAuth libraries from logging secrets."""

import logging

_TELLTALES = (
    "requests_oauthlib.oauth2_session",  # DEBUG: request bodies and token sets, whole
    "urllib3.connectionpool",  # DEBUG: URLs with their query
    "urllib3.connection",  # WARNING: the URL of an answer whose headers are malformed
)


def silence_libraries() -> None:
    """Drop what these loggers say below ERROR, for good. Calling it again changes nothing.

    A filter on the logger, unlike a level, holds whatever logging configuration the process sets up later.
    """
    for name in _TELLTALES:
        # `addFilter` ignores a filter that is already there.
        logging.getLogger(name).addFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
