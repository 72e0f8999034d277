"""The version, in one place for the agent's own checks (the packaging file must agree; a test compares them)."""

VERSION = "0.1.0"
