"""A deterministic simulation of the whole service: many processes, eight vendors, virtual time, one seed."""
