"""What every test shares: one thread for each process, and hypothesis without a clock."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: pytest-xdist fills the cores

import hypothesis

hypothesis.settings.register_profile("sonopsis", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("sonopsis")
