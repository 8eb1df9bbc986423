"""`python -m connectors`: the command line."""

from connectors.entrypoints.cli import main

if __name__ == "__main__":
    main()
