"""The demonstration: a real server, real workers, two organizations, and the standard library's sources as work.

``fairlane demo`` runs :func:`fairlane.demo.main.run_demo`; :mod:`fairlane.demo.app` is the application it serves.
"""
