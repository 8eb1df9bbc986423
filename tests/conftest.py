"""What all tests share."""

import hypothesis

# Nothing is remembered on disk, and no example fails for being slow on a busy machine.
hypothesis.settings.register_profile("connectors", database=None, deadline=None, print_blob=True, max_examples=15)
hypothesis.settings.load_profile("connectors")
