"""What Google Drive, Google Calendar and Gmail share: hosts, OAuth, errors, push channels, signed push tokens."""
