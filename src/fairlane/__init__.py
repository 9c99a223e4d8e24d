"""Fairlane: the back end of an async API product."""

from fairlane.errors import Fail, Retry
from fairlane.handlers import Context, Fairlane

__version__ = "0.1.0"

__all__ = ["Context", "Fail", "Fairlane", "Retry", "__version__"]
