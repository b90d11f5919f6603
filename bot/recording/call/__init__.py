"""Calls: many speakers at once, a stem for each time that a device is in. Pure."""
