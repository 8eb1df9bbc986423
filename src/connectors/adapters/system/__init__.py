"""What the operating system gives: time, randomness, and the settings."""
