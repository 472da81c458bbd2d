"""The demo: an app with trust of its own making, a backend that listens, and the stories told to both."""
