"""Doors to the world: files, fetching, the TUF client, clock, processes, sockets. No decisions are taken here."""
