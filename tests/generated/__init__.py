"""Clients that others' tools generate from the API's description."""
