"""The vault's keys if none are configured: created once, stored next to the embedded database."""

import contextlib
import os
import secrets
from pathlib import Path

from connectors.adapters.aesgcm.keys import KeyRing, generate_key
from connectors.adapters.system.settings import ServiceSettings
from connectors.domain.model.errors import SettingsError
from connectors.domain.model.secret import Secret

KEY_FILE_NAME = "vault.keys"
FIRST_KEY_ID = "local-1"


def resolve_key_ring(service: ServiceSettings) -> KeyRing:
    """The keys to seal and open with: the configured ones, otherwise those in the data folder of the embedded database.

    Raises:
        SettingsError: there is a database URL but no keys, or the key file cannot be created or read.
    """
    if service.vault_keys is not None:
        return service.vault_keys
    if service.database_url is not None:
        # A key created here would be lost with this machine, and another process would seal with another key.
        raise SettingsError(
            "POBLYSH_VAULT_KEYS is not set, expected id:base64(32 bytes) because POBLYSH_DATABASE_URL is set",
            next_step="Create a key with `connectors vault keygen` and keep it safe: without it no secret opens.",
        )
    text = ensure_vault_keys(service.data_dir)
    try:
        return KeyRing.parse(text.reveal())
    except ValueError as error:
        path = service.data_dir / KEY_FILE_NAME
        raise SettingsError(f"{path} is damaged ({error}), expected id:base64(32 bytes)") from None


def ensure_vault_keys(data_dir: Path) -> Secret:
    """The text of the data folder's key file. If there is none, it is created, readable only by its owner.

    Two processes that start at the same time get the same keys: the file appears complete or not at all, and the first
    process wins.

    Raises:
        SettingsError: the file cannot be created or read.
    """
    path = data_dir / KEY_FILE_NAME
    try:
        if not path.exists():
            _create(path)
        return Secret(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(
            f"{path} cannot be created or read ({reason}), expected a writable data folder",
            next_step="Set POBLYSH_DATA_DIR to such a folder, or POBLYSH_VAULT_KEYS.",
        ) from None


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(generate_key(FIRST_KEY_ID) + "\n")
            file.flush()
            # Losing this file means losing every secret: it must be on disk before anything is sealed with it.
            os.fsync(file.fileno())
        # Unlike a rename, a link fails if the name is taken: another process's file is never overwritten.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open directories
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
