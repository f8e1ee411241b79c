"""What ``consul watch`` starts for each change: decodes the checks it is given and notes the canary.

``python -S -E handler.py NOTES``; nothing but the standard library, for a quick start.
"""

import json
import sys
import time

body = sys.stdin.buffer.read()  # empty when ``consul watch`` is being ended
for check in json.loads(body or "null") or ():
    if check["Status"] == "critical" and check["Output"].startswith("canary "):
        with open(sys.argv[1], "a") as notes:
            notes.write(f"{check['Output'][7:]} {time.monotonic_ns()}\n")
