"""What another distribution ships: a provider, named by its entry point."""

from tests.support.provider import ACME

__all__ = ["ACME"]
