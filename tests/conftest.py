"""What every test starts from."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("home", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("home"), max_examples=300, derandomize=True)
settings.register_profile("long", settings.get_profile("home"), max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "home"))
