"""Rules of the token keeper and of the vendors' limits."""

from datetime import timedelta
from typing import Any

import attrs

from connectors.adapters.memory.database import GrantRow
from connectors.adapters.memory.grants import MemoryGrantStore
from connectors.domain.flows.provider_access import tokens
from connectors.domain.flows.provider_access.rate_limits import RateLimiter
from connectors.domain.flows.provider_access.token_sources import GrantTokens
from connectors.domain.flows.provider_access.tokens import TokenKeeper
from connectors.domain.flows.reading import failures
from connectors.domain.flows.reading.failures import Failures
from connectors.domain.model.oauth import RefreshLease
from tests.simulation.mutants.mutant import Change, Mutant, act, always, deed, fault, nothing
from tests.simulation.mutants.reading import limited_for_a_second


def _lease_for_everybody(self: Any, tenant_id: Any, grant_id: Any, *, until: Any, **_: Any) -> RefreshLease | None:
    row = self._rows.get((tenant_id, grant_id))
    if row is None:
        return None
    lease = RefreshLease(grant_id=grant_id, fencing_token=row.fencing_token + 1, expires_at=until)
    self._put(GrantRow(row.grant, lease.fencing_token, until))
    return lease


def _held_by_anybody(self: Any, tenant_id: Any, lease: RefreshLease) -> GrantRow | None:
    return self._rows.get((tenant_id, lease.grant_id))


def _without_own_transaction(self: Any, tenant_id: Any, lease: Any, provider: Any, renewed: Any) -> Any:
    with self.unit_of_work() as uow:
        stored = uow.grants.record_refreshed(
            tenant_id,
            lease,
            self.seal(tenant_id, lease.grant_id, renewed),
            expires_at=tokens.earliest_expiry(renewed),
            refresh_expires_at=renewed.refresh_expires_at,
            at=self.clock.now(),
        )
        if stored is None:
            raise tokens._lease_lost()
        self.plan_refresh(uow, provider, tenant_id, lease.grant_id, renewed)
        for connection in self._lock_connections(uow, stored):
            uow.connections.save(attrs.evolve(connection, expires_at=stored.expires_at))
    return stored


def _stale_as_it_is(_self: Any, stale: Any) -> Any:
    return stale


def _sealed_for_another(self: Any, tenant_id: Any, _grant_id: Any, token_set: Any) -> Any:
    return self.vault.seal(tokens.dump_token_set(token_set), tokens._secret_context(tenant_id, tenant_id))


def _stored_or_lost(_clock: Any, _what: str, store: Any) -> Any:
    return store()


_claim_refresh = MemoryGrantStore.claim_refresh


def _without_hold(self: Any, tenant_id: Any, grant_id: Any, **given: Any) -> RefreshLease | None:
    return _claim_refresh(self, tenant_id, grant_id, **{**given, "hold": timedelta(0)})


_STANDS_STILL_WITH_THE_ANSWER = (
    fault(3999, "hold_up", label="done:", part="access_token", n=1, seconds=150),
    deed(4000, "refresh"),
    act(4101, "end_tokens_early"),
    deed(4102, "sync"),
)


def _one_budget(_self: Any, _scope: Any, _name: str) -> str:
    return "all"


MUTANTS = (
    Mutant(
        name="lease-for-everybody",
        rule="One process at a time holds a grant's lease and refreshes.",
        changes=(Change(MemoryGrantStore, "claim_refresh", _lease_for_everybody),),
        breaks={"ended-by-us", "token-reused"},
        profile="calm",
        slugs=("github",),
        aimed=(
            fault(3999, "hold_up", label="done:", part="access_token", n=1, seconds=5),
            deed(4000, "refresh"),
            act(4000.1, "end_tokens_early"),
            deed(4000.2, "sync"),
        ),
        why="two processes want to refresh within seconds",
    ),
    Mutant(
        name="no-fencing",
        rule="Only the present holder of a grant's lease stores what it got.",
        changes=(Change(MemoryGrantStore, "_held", _held_by_anybody),),
        breaks={"ended-by-us", "token-reused"},
        profile="calm",
        slugs=("jira",),
        aimed=(
            fault(4999, "hold_up", label="done:", part="oauth/token", n=1, seconds=250),
            deed(5000, "refresh"),
            act(5211, "end_tokens_early"),
            deed(5212, "sync"),
        ),
        why="a refresh whose process stands still for longer than its lease",
    ),
    Mutant(
        name="no-attempt",
        rule="Before a refresh token is sent, that it will be is recorded.",
        changes=(Change(MemoryGrantStore, "record_attempt", always(True)),),
        breaks={"ended-by-us", "token-reused"},
        profile="calm",
        slugs=("github",),
        aimed=_STANDS_STILL_WITH_THE_ANSWER,
        why="a process that stands still with the vendor's answer to a refresh for longer than its lease",
    ),
    Mutant(
        name="lease-ends-in-time",
        rule="While an attempt is open, a lease that was not released stays valid for as long as its holder may store.",
        changes=(Change(MemoryGrantStore, "claim_refresh", _without_hold),),
        breaks={"ended-by-us", "token-reused"},
        profile="calm",
        slugs=("github",),
        aimed=_STANDS_STILL_WITH_THE_ANSWER,
        why="a process that stands still with the vendor's answer to a refresh for longer than its lease",
    ),
    Mutant(
        name="renewed-with-the-rest",
        rule="A renewed pair is stored in a transaction of its own.",
        changes=(
            Change(TokenKeeper, "_store_renewed", _without_own_transaction),
            Change(TokenKeeper, "record_working", nothing),
        ),
        breaks={"ended-by-us", "token-reused"},
        profile="calm",
        slugs=("github",),
        aimed=(
            fault(3999.9, "commit", write="connections.save", n=1, how="before"),
            deed(4000, "refresh"),
            deed(4030, "refresh"),
        ),
        why="a commit that fails after a refresh",
    ),
    Mutant(
        name="not-held",
        rule="What a vendor gave is kept until it is stored, while our database fails.",
        changes=(Change(tokens, "store_held", _stored_or_lost),),
        breaks={"ended-by-us", "token-reused"},
        profile="calm",
        slugs=("github",),
        aimed=(
            fault(3999.9, "commit", write="grants.record_refreshed", n=1, how="before"),
            deed(4000, "refresh"),
            deed(4400, "refresh"),
        ),
        why="a commit that fails with the vendor's answer to a refresh",
    ),
    Mutant(
        name="no-recovery",
        rule="A refresh that works again makes its connections active again.",
        changes=(Change(TokenKeeper, "record_working", nothing),),
        breaks={"ended-by-us"},
        profile="calm",
        slugs=("github",),
        aimed=(
            act(1, "answer_without_refresh_token"),
            fault(3000, "refuse", mount="github", part="", status=401, seconds=1200),
            deed(3001, "sync"),
            deed(9000, "refresh"),
        ),
        why="a vendor that refuses a good token for a while",
    ),
    Mutant(
        name="dead-unmarked",
        rule="A refusal of the refresh token marks the connections as needing their user.",
        changes=(Change(TokenKeeper, "_mark_dead", nothing),),
        breaks={"death-unseen"},
        profile="calm",
        slugs=("jira",),
        aimed=(deed(4000, "withdraw"),),
        why="a consent that is withdrawn",
    ),
    Mutant(
        name="no-refresh-on-401",
        rule="A token that the vendor refuses is refreshed, whatever we believe of its age.",
        changes=(Change(GrantTokens, "refreshed", _stale_as_it_is),),
        breaks={"given-up-alive", "ended-by-us"},
        profile="calm",
        slugs=("slack",),
        aimed=(act(3000, "end_tokens_early"),),
        why="access tokens that end early",
    ),
    Mutant(
        name="retry-after-ignored",
        rule="After a vendor's refusal nobody asks before the time that it named.",
        changes=(
            Change(RateLimiter, "record_refusal", nothing),
            Change(Failures, "limited", limited_for_a_second),
            Change(failures, "LONGEST_LIMIT", timedelta(seconds=1)),
        ),
        breaks={"busy"},
        profile="calm",
        slugs=("slack",),
        aimed=(
            fault(2500, "refuse", mount="slack", part="", status=429, retry_after="3000", seconds=3000),
            deed(2510, "sync"),
        ),
        why="a vendor that limits us for an hour",
    ),
    Mutant(
        name="one-limit-for-all",
        rule="A vendor's refusal holds back no work at other vendors.",
        changes=(Change(RateLimiter, "_key", _one_budget),),
        breaks={"neighbour-harmed"},
        profile="calm",
        slugs=("slack", "google-calendar"),
        aimed=(fault(2000, "refuse", mount="slack", part="", status=429, retry_after="86400", seconds=9000),),
        why="a vendor that limits us for a day",
    ),
    Mutant(
        name="secret-of-another",
        rule="Tokens are opened for the grant that they were sealed for.",
        changes=(Change(TokenKeeper, "seal", _sealed_for_another),),
        breaks={"api-crash", "crash"},
        profile="calm",
        slugs=("slack",),
        aimed=(deed(4000, "sync"), deed(4000, "refresh")),
        why="a refresh that somebody asks for",
    ),
)
