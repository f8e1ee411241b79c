"""From a playbook's text to a Playbook, or to errors that say where and what to do."""

from __future__ import annotations

import hashlib

from pydantic import ValidationError

from consulguard.errors import PlaybookError
from consulguard.model import Playbook
from consulguard.plan.rules import problems
from consulguard.plan.schema import PlaybookFile, PlaybookModel
from consulguard.plan.strict import explain
from consulguard.plan.yaml import load_yaml


def parse(text: str, source: str) -> Playbook:
    """The playbook in ``text``; ``source`` is the file's name, for messages.

    Raises PlaybookError for the first thing wrong, in the order of the file.
    """
    return parse_file(text, source).playbook


def parse_file(text: str, source: str) -> PlaybookFile:
    """The playbook with its tests. Raises PlaybookError as ``parse`` does."""
    found = read(text, source)
    if isinstance(found, PlaybookFile):
        return found
    raise found[0]


def read(text: str, source: str) -> PlaybookFile | tuple[PlaybookError, ...]:
    """The playbook, or everything wrong with it in the order of the file. Raises nothing."""
    try:
        document = load_yaml(text, source, error=PlaybookError)
    except PlaybookError as failure:
        return (failure,)
    try:
        model = PlaybookModel.model_validate(document.data)
    except ValidationError as failure:
        return tuple(explain(failure, document, PlaybookError))
    digest = hashlib.sha256(text.encode()).hexdigest()
    playbook = model.build(digest, f"{source}:{document.line_of(('name',))}")
    wrong = sorted(problems(playbook), key=lambda problem: document.line_of(problem[0]))
    if wrong:
        return tuple(PlaybookError(sentence, where=document.where(path)) for path, sentence in wrong)
    return PlaybookFile(playbook=playbook, tests=tuple(s.build() for s in model.tests))
