"""Formats of the SillyTavern community as pure functions: no file, no clock, no randomness of their own."""
