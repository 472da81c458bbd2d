"""The platforms' APIs, one client each: its addresses, its credentials, and what its statuses mean."""
