"""The vendor's workshop: keys, building, advisories, release, recall, rollout, refresh, and a static file server.

The publisher signs; it never installs. Private keys leave their encrypted files only into this process's memory, and
nothing appears in the repository that is not first, whole and durable, in a publication (see `publication`).
"""
