"""Keeps what a vendor gave until it is stored: our database may fail just when the only copy is in our hands."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from connectors.domain.model.errors import InfrastructureError, VaultError
from connectors.ports.clock import Clock

T = TypeVar("T")

HOLD_LIFETIME = timedelta(seconds=110)
"""How long a process tries to store what it was given: longer than a database takes to restart or to fail over."""

FIRST_PAUSE = timedelta(milliseconds=100)
LONGEST_PAUSE = timedelta(seconds=2)
"""Pauses between the tries double from the first to the longest."""

log = logging.getLogger(__name__)


def store_held(clock: Clock, what: str, store: Callable[[], T]) -> T:
    """What `store` returns, tried again while our database fails.

    Args:
        clock: paces the tries.
        what: a name for the log.
        store: one transaction. It must be harmless to run it again after a commit whose answer was lost.

    Raises:
        InfrastructureError: the database has failed for `HOLD_LIFETIME`. What was to be stored is lost.
    """
    give_up_at, pause = clock.now() + HOLD_LIFETIME, FIRST_PAUSE
    while True:
        try:
            return store()
        except VaultError:
            raise
        except InfrastructureError as error:
            if clock.now() + pause > give_up_at:
                log.error("held_lost", extra={"what": what, "reason": error.message})  # noqa: TRY400 - no bug of ours
                raise
            if pause == FIRST_PAUSE:
                log.warning("held", extra={"what": what, "reason": error.message})
        clock.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
