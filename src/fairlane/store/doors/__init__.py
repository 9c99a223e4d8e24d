"""The store's doors: its methods, grouped by caller. ``Store`` combines all of them; no other module imports a door."""
