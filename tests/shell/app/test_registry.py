"""Plug-ins are looked for once: a replica that takes over must not search the whole installation."""

import subprocess
import sys

CHILD = """
import sys
from consulguard import registry
seen = []

def heard(event, args):
    if event == "open" and "dist-info" in str(args[0]):
        seen.append(event)

sys.addaudithook(heard)
registry.load_all(registry.ACTIONS)
first = len(seen)
registry.load_all(registry.ACTIONS)
print(first > 0, len(seen) - first)
"""


def test_the_installed_distributions_are_read_once() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0"], done.stderr
