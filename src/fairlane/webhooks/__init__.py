"""Webhooks: signing, the address guard, and sending deliveries that are due. Wired by the app; does not use the API."""
