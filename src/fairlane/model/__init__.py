"""The nouns of fairlane as frozen records, one module for each family of them. No I/O, no decisions.

Every other module may import from these modules, by name and directly. They import each other in one direction and
nothing else of fairlane. Moments end in ``_at`` and are integer milliseconds since the Unix epoch, UTC. Other units
stand last in the name (``timeout_ms``). ``None`` has one meaning, stated at the field.
"""
