"""The device: it finds, verifies, installs, restarts, proves, rolls back and removes. In doubt it stays as it is."""
