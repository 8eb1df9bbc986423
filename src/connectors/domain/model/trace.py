"""The trace id: one name for all that follows from one request, in every log line."""

from contextvars import ContextVar

TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""Of what this thread works on, None between two things. Entry points set it; jobs carry it on."""
