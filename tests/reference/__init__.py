"""What the store promises, in plain Python: the model of its operations, and the invariants of its rows.

The random walks compare each answer with the model; walks and simulation check the invariants in snapshots of the rows.
"""
