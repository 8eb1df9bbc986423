"""What the API and the command line both show, and how it is encoded."""
