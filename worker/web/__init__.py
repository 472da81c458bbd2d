"""The HTTP side: webhooks in, the API, health, metrics and the document that describes them."""
