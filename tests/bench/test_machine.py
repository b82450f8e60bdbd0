"""What is said of the machine."""

import json
import subprocess
import sys

import pytest

from sonopsis.bench.machine import describe_machine, peak_mib, reset_peak, resident_mib, summary, warn_if_busy


def test_machine_is_json_without_a_date() -> None:
    machine = describe_machine()
    assert json.loads(json.dumps(machine)) == machine
    assert machine["cores"] >= 1 and machine["cpu"] and machine["python"] in summary(machine)
    assert machine["versions"]["numpy"] in summary(machine)


def test_a_busy_machine_is_told() -> None:
    machine = describe_machine()
    assert warn_if_busy(machine | {"load": 0.3}) is None
    assert warn_if_busy(machine | {"load": None}) is None
    assert "load average 1.7" in (warn_if_busy(machine | {"load": 1.7}) or "")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux only")
def test_the_peak_begins_anew() -> None:
    before = resident_mib()
    block = bytearray(256 * 2**20)  # so much that what the system takes back meanwhile does not matter
    del block
    assert peak_mib() > before + 100  # type: ignore[operator]
    reset_peak()
    assert peak_mib() < before + 20  # type: ignore[operator]


def test_describing_the_machine_imports_no_library() -> None:
    code = "import sys, sonopsis.bench.machine as m; m.describe_machine(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
