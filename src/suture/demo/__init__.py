"""The demos: real processes and connections, the commands a user would type, claims read back from the outside."""
