"""The OAuth scopes, and which of them imply others."""

from collections.abc import Iterable
from typing import Final

OFFLINE_ACCESS: Final = "offline_access"
"""Requests tokens that expire; never shown as granted."""

IMPLIED: Final[dict[str, tuple[str, ...]]] = {
    "repo": ("repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"),
    "admin:repo_hook": ("write:repo_hook", "read:repo_hook"),
    "write:repo_hook": ("read:repo_hook",),
    "admin:org": ("write:org", "read:org"),
    "write:org": ("read:org",),
    "admin:public_key": ("write:public_key", "read:public_key"),
    "write:public_key": ("read:public_key",),
    "user": ("read:user", "user:email", "user:follow"),
    "project": ("read:project",),
    "write:packages": ("read:packages",),
    "admin:org_hook": (),
    "gist": (),
    "notifications": (),
    "workflow": (),
    "delete_repo": (),
}

DESCRIPTIONS: Final = {
    "repo": "Read and write all repositories, private ones and their hooks included",
    "public_repo": "Read and write public repositories",
    "read:org": "See your organizations and teams",
    "admin:repo_hook": "Create, change and delete repository hooks",
    "write:repo_hook": "Create and change repository hooks",
    "admin:org_hook": "Create, change and delete organization hooks",
    "user": "Read and change your profile",
    OFFLINE_ACCESS: "Stay signed in: tokens expire and are refreshed",
}
"""Descriptions for the consent page."""

KNOWN: Final = frozenset(IMPLIED) | {scope for implied in IMPLIED.values() for scope in implied}


def normalize(scopes: Iterable[str]) -> tuple[str, ...]:
    """The known scopes that no other one implies, sorted."""
    known = {scope for scope in scopes if scope in KNOWN}
    implied = {scope for granted in known for scope in IMPLIED.get(granted, ())}
    return tuple(sorted(known - implied))


def covers(granted: Iterable[str], needed: str) -> bool:
    """Whether the granted scopes include `needed`, directly or by implication."""
    return any(scope == needed or needed in IMPLIED.get(scope, ()) for scope in granted)
