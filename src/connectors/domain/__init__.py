"""The business: nouns in `model`, vendors in `providers`, verbs in `flows`. No I/O and no clock in any of it."""
