"""The vendor's workshop: keys, building, releasing, rollout, recall, advisories, the static repository."""
