"""gunicorn's log lines, in the form of ours."""

import logging
from typing import Any

from gunicorn.glogging import Logger


class OurLogger(Logger):  # type: ignore[misc]  # gunicorn publishes no types
    """Hands what gunicorn has to say to the root logger, which `configure_logs` has set up."""

    def setup(self, cfg: Any) -> None:
        """See `gunicorn.glogging.Logger`. Called again when gunicorn reads its configuration again."""
        super().setup(cfg)
        # Only this one: requests are logged by `flask/tracing.py`, without their queries.
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.NOTSET)
