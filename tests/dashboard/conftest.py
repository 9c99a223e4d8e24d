"""The API's servers serve the dashboard, too."""

from tests.api.conftest import a_house, customer, house, shared

__all__ = ["a_house", "customer", "house", "shared"]
