"""The delta engine: old bytes and new bytes to a patch, old bytes and a patch to new bytes. Pure."""
