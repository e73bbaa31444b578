"""Pure decisions: stdlib only, no clock, no randomness, no I/O, no logging."""
