"""Write the golden renders and the golden rights: ``python -m tests.helm.make_golden``. Look at the difference."""

from __future__ import annotations

import json

from tests.helm import support
from tests.helm.test_rights import RIGHTS, rights_of_each_action


def main() -> None:
    for name in support.SETS:
        (support.HERE / f"golden/{name}.yaml").write_text(support.rendered(name))
    RIGHTS.write_text(json.dumps(rights_of_each_action(), indent=1) + "\n")


if __name__ == "__main__":
    main()
