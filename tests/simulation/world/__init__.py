"""What happens at the vendors: one module each, all on the sandbox's worlds."""
