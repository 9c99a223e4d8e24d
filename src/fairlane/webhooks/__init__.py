"""Webhooks: signing, the address guard, and sending what the store says is due. Wired by the app; knows no API."""
