"""One file a command: parse, call, print. Nothing is decided here."""
