"""Webhooks: ingest, verification, subscriptions and their maintenance."""
