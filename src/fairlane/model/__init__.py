"""The nouns of fairlane as frozen records, a module for each family of them. No I/O, no decisions.

Everybody may import from these modules, by name and each from its own; they import one another, in one direction, and
nothing else of ours. Moments end in ``_at`` and are integer milliseconds since the Unix epoch, UTC. Other units stand
last in the name (``timeout_ms``). ``None`` has one meaning, stated.
"""
