"""The dashboard: pages for people, served by the server, without a build step and without external resources."""

from fairlane.dashboard.live import Hub
from fairlane.dashboard.surface import dashboard_part

__all__ = ["Hub", "dashboard_part"]
