"""The dashboard: pages for people, served by the server, without a build step and without external resources."""

from fairlane.dashboard.live import Hub
from fairlane.dashboard.surface import dashboard_part
from fairlane.dashboard.tickets import TicketEndpoints, Tickets, is_loopback, local_address

__all__ = ["Hub", "TicketEndpoints", "Tickets", "dashboard_part", "is_loopback", "local_address"]
