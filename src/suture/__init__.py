"""Suture: an open system for background security improvements.

Rooms, from the ground up: core, delta and trust, improvement, adapters and wire, publisher and agent, testing, demo,
cli. ARCHITECTURE.md has the picture; `suture --help` has the commands.
"""
