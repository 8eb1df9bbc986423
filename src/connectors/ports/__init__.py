"""What the flows need from outside the domain: small Protocols, one role per file. Adapters implement them."""
