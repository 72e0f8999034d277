"""Where an improvement's bytes come from: one module a kind of source. Trees for now; each gives scanned trees."""
