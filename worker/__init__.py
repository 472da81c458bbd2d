"""Everything that touches the world: HTTP, broker, store, outgoing calls, command line."""
