"""Access to a provider: sessions, conversations, tokens, rate limits."""
