"""The verbs. Each flow is a frozen class whose fields are the ports it uses; nothing here opens a socket or a file."""
