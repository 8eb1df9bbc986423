"""Rules of consents and their end."""

from typing import Any

from connectors.adapters.memory.database import MemoryDatabase
from connectors.domain.flows.connections.disconnect import DisconnectFlow
from tests.simulation.mutants.mutant import Change, Mutant, always, deed, fault, nothing

_erase_tenant = MemoryDatabase.erase_tenant


def _erase_but_signals(self: Any, tenant_id: Any) -> None:
    kept = [(key, row) for key, row in self.signals.items() if key[0] == tenant_id]
    _erase_tenant(self, tenant_id)
    for key, row in kept:
        self.signals.put(key, row)


MUTANTS = (
    Mutant(
        name="not-revoked",
        rule="A disconnect revokes the tokens at the vendor.",
        changes=(Change(DisconnectFlow, "_revoke_grant", always(())),),
        breaks={"token-left"},
        profile="people",
        slugs=("google-drive",),
    ),
    Mutant(
        name="connection-before-grant",
        rule="A disconnect locks the grant before its connection, as a consent does.",
        changes=(Change(DisconnectFlow, "_lock_grant", nothing),),
        breaks={"lock-order"},
        profile="calm",
        slugs=("jira",),
        aimed=(deed(4000, "connect"), deed(5000, "disconnect")),
        why="a second consent and a disconnect",
    ),
    Mutant(
        name="unused-tokens-kept",
        rule="Tokens of a consent that gives no connection are revoked.",
        changes=(Change(DisconnectFlow, "revoke", nothing),),
        breaks={"token-left"},
        profile="calm",
        slugs=("zoho-cliq",),
        aimed=(fault(0, "refuse", mount="zoho", part="oauth/user/info", status=403, seconds=9000),),
        why="a vendor that does not say whose consent it was",
    ),
    Mutant(
        name="erased-in-part",
        rule="Erasing a tenant deletes all of its rows.",
        changes=(Change(MemoryDatabase, "erase_tenant", _erase_but_signals),),
        breaks={"not-erased"},
        profile="calm",
        slugs=("slack",),
        aimed=(deed(6000, "erase"),),
        why="a tenant that is erased",
    ),
)
