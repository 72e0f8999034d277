"""Health: what the manifest declares, run as the product file allows."""
