"""A question to Prometheus and the condition its answer must fulfil."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

from consulguard.model.base import Value

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
QUERY_MAX = 4096  # characters

_CONDITION = re.compile(r"(<=|>=|==|!=|<|>) ?([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?)")


class Query(Value, frozen=True, kw_only=True):
    """``text`` is PromQL; ``expect`` is what every sample of its answer must be: ``< 0.05``."""

    text: str
    expect: str

    def holds(self, value: float) -> bool:
        """Whether one sample is as expected. NaN never is, not even with ``!=``."""
        compare, bound = parse_condition(self.expect)
        return not math.isnan(value) and compare(value, bound)


def parse_condition(text: str) -> tuple[Callable[[float, float], bool], float]:
    """``< 0.05`` as a comparison and its bound. Raises ValueError with one sentence."""
    found = _CONDITION.fullmatch(text)
    if found is None or math.isinf(float(found[2])):
        raise ValueError("must be one of < <= > >= == != and a number, such as '< 0.05'")
    return OPERATORS[found[1]], float(found[2])
