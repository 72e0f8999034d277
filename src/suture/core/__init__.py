"""The words that every room shares: errors, digests, levels, identifiers, limits, the clock protocol, canonical JSON.

Imports nothing of ours, touches no file, no network and no clock.
"""
