"""Chaos: real servers and workers on one PostgreSQL, killed and stopped while customers submit. ``make chaos``."""
