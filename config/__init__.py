"""What the operator chose: frozen values, read once at start and handed down."""
