"""The vault with AES-256-GCM."""

from connectors.adapters.aesgcm.keys import KeyRing, generate_key
from connectors.adapters.aesgcm.vault import AesGcmVault

__all__ = ["AesGcmVault", "KeyRing", "generate_key"]
