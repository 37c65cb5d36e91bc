"""Decisions as values: pure, printable, hashable. No I/O, no clock, no threads, no logging."""
