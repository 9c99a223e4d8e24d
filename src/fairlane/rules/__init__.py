"""Pure decisions: no I/O, no clock, no randomness. Each is imported by name from its module.

Called by ``store/``. Everything here can be tested with numbers alone.
"""
