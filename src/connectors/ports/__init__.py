"""What the flows need from the world: small Protocols, one role a file. Adapters fill them, named by technology."""
