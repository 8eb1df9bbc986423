"""What the HTTP API and the command line both show: for each resource its view classes and their functions.

The JSON encoding and the OpenAPI schemas both come from the view classes. They have no `__slots__`: msgspec
writes the members of slotted classes in alphabetical order, and people expect the id first. Members without a
default are always present; `UNSET` ones are left out where they do not apply.
"""
