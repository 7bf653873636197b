"""Whether a generated answer is right: the part of it that is compared, and what the comparison ignores.

The normalisations are those of `exact_match` in lm-evaluation-harness, which takes them from Hugging Face's evaluate.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from tinygrad_llm.evaluation.task_settings import FIRST_NUMBER, LAST_NUMBER, REGEX, STRIP, TaskSettings

NO_MATCH = "[invalid]"  # extracted where a pattern is not found
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = str.maketrans("", "", string.digits)


def extract(text: str, settings: TaskSettings) -> str:
    """The part of a generated answer that is compared.

    >>> extract("It costs 1,250 or -3.5.", TaskSettings(filter="first-number"))
    '1250'
    """
    if settings.filter in (FIRST_NUMBER, LAST_NUMBER):
        numbers = _NUMBER.findall(text)
        place = -1 if settings.filter == LAST_NUMBER else 0
        return numbers[place].replace(",", "") if numbers else NO_MATCH
    if settings.filter == REGEX:
        found = re.search(settings.regex, text)
        if found is None:
            return NO_MATCH
        parts = found.groups() or (found[0],)
        return next((part for part in parts if part), NO_MATCH).strip()
    return text.strip() if settings.filter == STRIP else text


def matches(extracted: str, answers: Sequence[str], settings: TaskSettings) -> bool:
    """Whether what was extracted equals one of the right answers, apart from what the settings ignore.

    With a filter for numbers, an answer is the number in it.

    >>> matches("paris", ["Paris!"], TaskSettings(ignore_case=True, ignore_punctuation=True))
    True
    """
    if settings.filter in (FIRST_NUMBER, LAST_NUMBER):
        answers = [answer if (number := extract(answer, settings)) == NO_MATCH else number for answer in answers]
    elif settings.filter in (STRIP, REGEX):
        answers = [answer.strip() for answer in answers]
    normalised = _normalised(extracted, settings)
    return any(normalised == _normalised(answer, settings) for answer in answers)


def _normalised(text: str, settings: TaskSettings) -> str:
    for pattern in settings.ignore:
        text = re.sub(pattern, "", text)
    if settings.ignore_case:
        text = text.lower()
    if settings.ignore_punctuation:
        text = text.translate(_PUNCTUATION)
    return text.translate(_DIGITS) if settings.ignore_numbers else text
