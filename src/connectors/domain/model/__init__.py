"""The nouns: frozen values that check themselves when built. No I/O, no clock, no framework."""
