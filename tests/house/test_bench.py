"""The benches' own playbooks are such as the daemon takes: a bench that cannot start measures nothing."""

import pytest
from bench.house import EVERYTHING
from bench.runs import REPAIR
from consulguard import plan


@pytest.mark.parametrize("text", [EVERYTHING, REPAIR], ids=["everything", "repair"])
def test_a_bench_has_a_playbook_that_can_be_used(text: str) -> None:
    plan.parse(text, "playbook.yaml")
