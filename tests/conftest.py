"""What every test shares: the Hypothesis profiles.

`dev` (the default) explores; `ci` is derandomised, so that a pull request fails for what it changed and not for a new
roll of the dice; `nightly` searches longer. Choose with HYPOTHESIS_PROFILE or --hypothesis-profile.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Two shared cores make a single example arbitrarily slow; whole-test time is bounded by pytest-timeout instead.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("dev", max_examples=200, **_COMMON)
settings.register_profile("ci", max_examples=200, derandomize=True, database=None, print_blob=True, **_COMMON)
settings.register_profile("nightly", max_examples=5_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
