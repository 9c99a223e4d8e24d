"""Proofs that take long: run by ``make proof``, and in small by the suite."""
