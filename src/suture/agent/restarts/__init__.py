"""Restarts: who still uses replaced files, and the real ends that restart them."""
