"""Sealing secrets for storage."""

from typing import Protocol

from connectors.domain.model.secret import SealedSecret, Secret, SecretContext


class Vault(Protocol):
    """Seals and opens secrets, each bound to its context."""

    def seal(self, secret: Secret, context: SecretContext) -> SealedSecret:
        """The secret, encrypted under the newest key, bound to the context."""
        ...

    def open(self, sealed: SealedSecret, context: SecretContext) -> Secret:
        """The secret.

        Raises:
            VaultError: it was sealed for another context or under a key we do not have, or it is damaged.
        """
        ...
