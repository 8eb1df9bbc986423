"""What processes of their own do with tokens: many ask for them at once, or one dies over a refresh."""

import os
import signal
import threading
from enum import Enum

import attrs

from connectors.domain.model.errors import ConnectorsError
from connectors.entrypoints.library import Connectors

GATE_TIMEOUT = 120
"""Seconds that the first process waits for the last one to have started."""


@attrs.frozen
class Answers:
    """What the callers of one process got."""

    tokens: tuple
    """Access tokens, those of companions after them, one tuple for each caller."""
    errors: tuple


def ask_together(environment, tenant_id, grant_id, callers, everybody, answers):
    """So many threads ask for the grant's tokens once all processes are at the gate; sends `Answers`."""
    with Connectors.from_settings(environment) as connectors:
        keeper = connectors.connect.keeper
        gate = threading.Barrier(callers, action=lambda: everybody.wait(GATE_TIMEOUT))
        tokens, errors = [], []

        def ask():
            gate.wait(GATE_TIMEOUT)
            try:
                found = keeper.fresh_tokens(tenant_id, grant_id)
                tokens.append(revealed(found))
            except ConnectorsError as error:
                errors.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(callers)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        answers.put(Answers(tuple(tokens), tuple(errors)))


def revealed(token_set):
    """Its access tokens, readable."""
    return tuple(one.access_token.reveal() for one in (token_set, *token_set.companions.values()))


class Moment(Enum):
    """When a process dies over its refresh."""

    LEASED = "it holds the lease and has recorded nothing"
    RECORDED = "the attempt is on record, and nothing was sent"
    ANSWERED = "the vendor has answered, and nothing is stored"
    STORING = "the new tokens are written, and not committed"
    STORED = "the new tokens are committed, and the connections have not heard of it"


def die(environment, tenant_id, grant_id, moment):
    """Ask for the grant's tokens, and be killed by SIGKILL at that moment of the refresh."""
    with Connectors.from_settings(environment) as connectors:
        keeper = connectors.connect.keeper
        doom = _Doom(moment, keeper.unit_of_work, keeper.token_endpoint)
        attrs.evolve(keeper, unit_of_work=doom.begin, token_endpoint=doom).fresh_tokens(tenant_id, grant_id)


class _Doom:
    """The ports through which a refresh goes, one of which is the last."""

    def __init__(self, moment, begin, endpoint):
        self.moment, self._begin, self._endpoint = moment, begin, endpoint
        self.claimed = self.answered = False

    def begin(self):
        if self.claimed and self.moment is Moment.LEASED:
            kill_self()
        if self.answered and self.moment is Moment.ANSWERED:
            kill_self()
        return _DoomedUnit(self, self._begin())

    def refresh(self, app, call, refresh_token, read):
        if self.moment is Moment.RECORDED:
            kill_self()
        tokens = self._endpoint.refresh(app, call, refresh_token, read)
        self.answered = True
        return tokens


class _DoomedUnit:
    """One unit of work, and the watch over what is done in it."""

    def __init__(self, doom, unit):
        self._doom, self._unit, self._grants = doom, unit, None

    def __enter__(self):
        self._unit.__enter__()
        self._grants = _DoomedGrants(self._doom, self._unit.grants)
        return self

    def __exit__(self, *error):
        self._unit.__exit__(*error)
        if self._grants.stored:
            kill_self()

    @property
    def grants(self):
        return self._grants

    def __getattr__(self, name):
        return getattr(self._unit, name)


class _DoomedGrants:
    """The store of grants, watched."""

    def __init__(self, doom, grants):
        self._doom, self._inner, self.stored = doom, grants, False

    def claim_refresh(self, *arguments, **named):
        lease = self._inner.claim_refresh(*arguments, **named)
        self._doom.claimed = lease is not None
        return lease

    def record_refreshed(self, *arguments, **named):
        grant = self._inner.record_refreshed(*arguments, **named)
        if self._doom.moment is Moment.STORING:
            kill_self()
        self.stored = grant is not None
        return grant

    def __getattr__(self, name):
        return getattr(self._inner, name)


def kill_self():
    """kill -9 this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()
