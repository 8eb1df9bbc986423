"""gunicorn's log lines, in our format."""

import logging
from typing import Any

from gunicorn.glogging import Logger


class PropagatingLogger(Logger):  # type: ignore[misc]  # gunicorn publishes no types
    """Passes gunicorn's log lines on to the root logger, which `configure_logs` has set up."""

    def setup(self, cfg: Any) -> None:
        """See `gunicorn.glogging.Logger`. gunicorn calls it at the start and at every reload."""
        super().setup(cfg)
        # Not the access log: `flask/tracing.py` logs requests, without their queries.
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)
