"""The shipped kit for tests: simulated repository, clock, faulty files, simulated devices, Hypothesis strategies."""
