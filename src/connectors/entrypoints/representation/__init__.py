"""What the HTTP API and the command line both show: for each resource its view classes and what fills them.

The JSON encoding and the OpenAPI schemas both come from the view classes. These have no `__slots__`, because msgspec
writes the members of slotted classes in alphabetical order and people read JSON with the id first. Members without a
default are always present; `UNSET` ones are left out where they do not apply.
"""
