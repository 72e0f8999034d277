"""Letters between the vendor, the device, its people and the fleet: msgspec structs, decoded once at the door."""
