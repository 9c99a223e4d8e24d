"""A deterministic simulation: servers, workers, customers and receivers on one seeded event loop with a virtual clock.

The code that runs is the product's own: store operations with their SQL, group commit, the workers' API, parking,
callers, sweeper, sender, supervisor, worker process, exchange loop and executors. Replaced is what lies below them: the
clock, chance and ids, sockets, pipes, processes, and the threads of the store.
"""
