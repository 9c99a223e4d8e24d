"""Webhooks: signing, the address guard, and sending one try. Wired by the app; knows neither the store nor the API."""
