"""Instructions with answers that can be computed: a small model can learn to follow them, and is graded exactly.

A model trained on a laptop knows few facts, but it can learn from examples what "reverse", "count" or "the largest"
mean. Each kind of task has several wordings and an unlimited number of contents. Some wordings and a fifth of the
contents are held out, so that a model can be tested on wordings and contents that it has never seen:

    >>> from tinygrad_llm.random import Generator
    >>> for record in instruction_tasks(3, Generator(5)):
    ...     print(record["instruction"], "|", record["input"], "|", record["output"])
    Your task: show me the letters of the word in reverse order. | vigepi | ipegiv
    Your task is to reverse the list. | plant wish field lamp island | island lamp field wish plant
    I want you to sort the words. | party stone plant truck | party plant stone truck
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygrad_llm.data.choices import is_held_out
from tinygrad_llm.data.exercises import (
    VOWELS,
    Draw,
    Exercise,
    add,
    contains_letter,
    count_letter,
    even_or_odd,
    extract_number,
    listed,
    longest_word,
    lowercase,
    multiply,
    next_number,
    on_a_word,
    on_numbers,
    on_words,
    past_tense_of_a_verb,
    plural_of_a_noun,
    remove_word,
    repeat,
    replace_word,
    subtract,
)
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator

HELD_OUT_SHARE = 5  # one content in five is held out

# Sentence patterns of a request. The held-out patterns combine known words in new ways.
FRAMES = (
    "{Request}.",
    "Please {request}.",
    "{Request}, please.",
    "Now {request}.",
    "Now please {request}.",
    "Can you {request}?",
    "Can you please {request}?",
    "Could you {request}, please?",
    "Would you {request}?",
    "I want you to {request}.",
    "I would like to ask you to {request}.",
    "Your task is to {request}.",
    "Your task: {request}.",
    "Here is what I want: {request}.",
)
HELD_OUT_FRAMES = ("I would like you to {request}.", "Could you {request}?", "Would you please {request}?")

# The verbs of a request: before a thing ("the sum"), and before a question ("which is first").
SAY = ("say", "give", "write", "show", "tell me", "give me", "write down", "show me")
TELL = ("say", "tell me", "find out", "work out", "show me", "tell")


@dataclass(frozen=True)
class InstructionKind:
    """One kind of instruction: a function that makes an exercise, and wordings of the request.

    In a request, `{say}` and `{tell}` are replaced by a verb (see `SAY` and `TELL`), and `{x}` by the content in
    quotes, or by nothing if the content is the input.
    """

    make: Callable[[Draw], Exercise]
    requests: tuple[str, ...]
    held_out_requests: tuple[str, ...]


TASKS: dict[str, InstructionKind] = {
    "reverse_letters": InstructionKind(
        on_a_word(lambda word: word[::-1]),
        (
            "reverse the word{x}",
            "reverse the letters of the word{x}",
            "{say} the word{x} backwards",
            "{say} the letters of the word{x} in reverse order",
            "spell the word{x} backwards",
        ),
        ("{say} the word{x} in reverse", "spell the letters of the word{x} in reverse order"),
    ),
    "reverse_words": InstructionKind(
        on_words(lambda words: " ".join(words[::-1])),
        (
            "reverse the list{x}",
            "reverse the order of the words{x}",
            "{say} the words{x} in reverse order",
            "{say} the list{x} from the last word to the first",
            "put the words{x} in reverse order",
        ),
        ("{say} the list{x} in reverse order", "put the list{x} in reverse"),
    ),
    "sort_words": InstructionKind(
        on_words(lambda words: " ".join(sorted(words))),
        (
            "sort the words{x}",
            "sort the list{x} by the alphabet",
            "{say} the words{x} in alphabetical order",
            "put the words{x} in alphabetical order",
            "{say} the list{x} sorted from a to z",
        ),
        ("{say} the list{x} in alphabetical order", "sort the words{x} from a to z"),
    ),
    "count_words": InstructionKind(
        on_words(lambda words: str(len(words))),
        (
            "count the words{x}",
            "{tell} how many words the list{x} has",
            "{say} the number of words in the list{x}",
            "count how many words are in the list{x}",
        ),
        ("{say} the count of words in the list{x}", "{tell} how many words are in the list{x}"),
    ),
    "first_word": InstructionKind(
        on_words(lambda words: words[0]),
        (
            "{say} the first word of the list{x}",
            "{say} the first of the words{x}",
            "{tell} which of the words{x} is first",
            "pick the first word of the list{x}",
            "{say} only the first word{x}",
        ),
        ("pick the first of the words{x}", "{tell} which word of the list{x} is first"),
    ),
    "second_word": InstructionKind(
        on_words(lambda words: words[1]),
        (
            "{say} the second word of the list{x}",
            "{say} the second of the words{x}",
            "{tell} which of the words{x} is second",
            "pick the second word of the list{x}",
            "{say} only the second word{x}",
        ),
        ("pick the second of the words{x}", "{tell} which word of the list{x} is second"),
    ),
    "last_word": InstructionKind(
        on_words(lambda words: words[-1]),
        (
            "{say} the last word of the list{x}",
            "{say} the last of the words{x}",
            "{tell} which of the words{x} is last",
            "pick the last word of the list{x}",
            "{say} only the last word{x}",
        ),
        ("pick the last of the words{x}", "{tell} which word of the list{x} is last"),
    ),
    "longest_word": InstructionKind(
        longest_word,
        (
            "{say} the longest word of the list{x}",
            "{say} the longest of the words{x}",
            "{tell} which of the words{x} is longest",
            "pick the longest word of the list{x}",
            "{say} the word with the most letters in the list{x}",
        ),
        ("pick the longest of the words{x}", "pick the word with the most letters in the list{x}"),
    ),
    "join_with_hyphens": InstructionKind(
        on_words("-".join),
        (
            "join the words{x} with hyphens",
            "put hyphens between the words{x}",
            "{say} the words{x} with hyphens",
            "join the list{x} by hyphens",
            "{say} the list{x} with hyphens between the words",
        ),
        ("put hyphens in the list{x}", "join the words{x} by hyphens"),
    ),
    "initials": InstructionKind(
        on_words(lambda words: "".join(word[0] for word in words).upper()),
        (
            "{say} the initials of the words{x}",
            "make an acronym of the words{x}",
            "{say} the acronym of the list{x}",
            "join the initials of the words{x}",
        ),
        ("{say} the initials of the list{x}", "make an acronym of the list{x}"),
    ),
    "replace_word": InstructionKind(
        replace_word,
        (
            "replace {old} by {new} in the words{x}",
            "{say} the words{x} with {new} for {old}",
            "change {old} to {new} in the list{x}",
            "put {new} in the place of {old} in the words{x}",
        ),
        ("put {new} for {old} in the list{x}", "replace {old} by {new} in the list{x}"),
    ),
    "remove_word": InstructionKind(
        remove_word,
        (
            "remove {gone} from the words{x}",
            "{say} the words{x} without {gone}",
            "delete {gone} from the list{x}",
            "{say} all of the words{x} but {gone}",
        ),
        ("remove {gone} from the list{x}", "{say} the list{x} without {gone}"),
    ),
    "uppercase": InstructionKind(
        on_words(lambda words: " ".join(words).upper()),
        (
            "{say} the words{x} in capital letters",
            "put the words{x} in upper case",
            "{say} the list{x} in upper case",
            "change the words{x} to capital letters",
        ),
        ("put the list{x} in capital letters", "change the words{x} to upper case"),
    ),
    "lowercase": InstructionKind(
        lowercase,
        (
            "{say} the words{x} in small letters",
            "put the words{x} in lower case",
            "{say} the list{x} in lower case",
            "change the words{x} to small letters",
        ),
        ("put the list{x} in small letters", "change the words{x} to lower case"),
    ),
    "capitalise": InstructionKind(
        on_words(lambda words: " ".join(word.capitalize() for word in words)),
        (
            "capitalise the words{x}",
            "{say} the words{x} like a title",
            "make a title of the words{x}",
            "capitalise each word of the list{x}",
        ),
        ("{say} the list{x} like a title", "capitalise the list{x}"),
    ),
    "first_letter": InstructionKind(
        on_a_word(lambda word: word[0]),
        (
            "{say} the first letter of the word{x}",
            "{tell} which letter of the word{x} is first",
            "{say} the letter that begins the word{x}",
            "pick the first letter of the word{x}",
            "{tell} which letter begins the word{x}",
        ),
        ("pick the letter that begins the word{x}", "{say} only the first letter of the word{x}"),
    ),
    "last_letter": InstructionKind(
        on_a_word(lambda word: word[-1]),
        (
            "{say} the last letter of the word{x}",
            "{tell} which letter of the word{x} is last",
            "{say} the letter that ends the word{x}",
            "pick the last letter of the word{x}",
            "{tell} which letter ends the word{x}",
        ),
        ("pick the letter that ends the word{x}", "{say} only the last letter of the word{x}"),
    ),
    "spell": InstructionKind(
        on_a_word("-".join),
        (
            "spell the word{x}",
            "{say} the word{x} letter by letter",
            "spell the letters of the word{x} with hyphens",
            "put hyphens between the letters of the word{x}",
        ),
        ("spell the word{x} letter by letter", "{say} the letters of the word{x} with hyphens"),
    ),
    "count_letters": InstructionKind(
        on_a_word(lambda word: str(len(word))),
        (
            "count the letters of the word{x}",
            "{tell} how many letters the word{x} has",
            "{say} the length of the word{x}",
            "{say} the number of letters in the word{x}",
        ),
        ("count how many letters the word{x} has", "{tell} how many letters are in the word{x}"),
    ),
    "count_letter": InstructionKind(
        count_letter,
        (
            "count the letter {letter} in the word{x}",
            "{tell} how often the letter {letter} is in the word{x}",
            "{tell} how many times the word{x} has the letter {letter}",
            "{say} the number of times that {letter} is in the word{x}",
        ),
        (
            "count how often the letter {letter} is in the word{x}",
            "{tell} how many times the letter {letter} is in the word{x}",
        ),
    ),
    "contains_letter": InstructionKind(
        contains_letter,
        (
            "{tell} whether the letter {letter} is in the word{x}",
            "{tell} whether the word{x} contains {letter}",
            "check whether the word{x} has the letter {letter}",
            "{say} yes or no: is {letter} in the word{x}",
        ),
        ("check whether the letter {letter} is in the word{x}", "{tell} whether the word{x} has the letter {letter}"),
    ),
    "remove_vowels": InstructionKind(
        on_a_word(lambda word: "".join(letter for letter in word if letter not in VOWELS)),
        (
            "remove the vowels from the word{x}",
            "{say} the word{x} without vowels",
            "delete all vowels from the word{x}",
            "{say} only the consonants of the word{x}",
        ),
        ("delete the vowels of the word{x}", "{say} the word{x} without its vowels"),
    ),
    "repeat": InstructionKind(
        repeat,
        (
            "repeat the word{x} {times} times",
            "{say} the word{x} {times} times",
            "{say} {times} times the word{x}",
            "{say} the word{x} {times} times in a row",
        ),
        ("repeat {times} times the word{x}", "repeat the word{x} {times} times in a row"),
    ),
    "sort_numbers": InstructionKind(
        on_numbers(lambda numbers: listed(sorted(numbers))),
        (
            "sort the numbers{x}",
            "{say} the numbers{x} from the smallest to the largest",
            "put the numbers{x} in ascending order",
            "{say} the numbers{x} sorted by size",
        ),
        ("{say} the numbers{x} in ascending order", "sort the numbers{x} by size"),
    ),
    "largest_number": InstructionKind(
        on_numbers(lambda numbers: str(max(numbers))),
        (
            "{say} the largest of the numbers{x}",
            "{tell} which of the numbers{x} is largest",
            "{say} the maximum of the numbers{x}",
            "pick the biggest of the numbers{x}",
            "{tell} which of the numbers{x} is biggest",
        ),
        ("pick the largest of the numbers{x}", "{say} the biggest of the numbers{x}"),
    ),
    "smallest_number": InstructionKind(
        on_numbers(lambda numbers: str(min(numbers))),
        (
            "{say} the smallest of the numbers{x}",
            "{tell} which of the numbers{x} is smallest",
            "{say} the minimum of the numbers{x}",
            "pick the least of the numbers{x}",
            "{tell} which of the numbers{x} is least",
        ),
        ("pick the smallest of the numbers{x}", "{say} the least of the numbers{x}"),
    ),
    "count_numbers": InstructionKind(
        on_numbers(lambda numbers: str(len(numbers))),
        (
            "count the numbers{x}",
            "{tell} how many numbers the list{x} has",
            "{say} the count of numbers in the list{x}",
            "count how many numbers are in the list{x}",
        ),
        ("{say} the count of the numbers{x}", "{tell} how many numbers are in the list{x}"),
    ),
    "add": InstructionKind(
        add,
        (
            "add the numbers{x}",
            "{say} the sum of the numbers{x}",
            "add up the numbers{x}",
            "{say} the total of the numbers{x}",
            "{tell} what the sum of the numbers{x} is",
        ),
        ("{tell} what the total of the numbers{x} is", "make the sum of the numbers{x}"),
    ),
    "subtract": InstructionKind(
        subtract,
        (
            "{say} the difference of the numbers{x}",
            "subtract the smaller of the numbers{x} from the larger",
            "{tell} by how much the numbers{x} differ",
            "{tell} what the difference of the numbers{x} is",
        ),
        ("{say} the difference between the numbers{x}", "subtract the numbers{x}"),
    ),
    "multiply": InstructionKind(
        multiply,
        (
            "multiply the numbers{x}",
            "{say} the product of the numbers{x}",
            "multiply together the numbers{x}",
            "{tell} what the product of the numbers{x} is",
        ),
        ("make the product of the numbers{x}", "multiply up the numbers{x}"),
    ),
    "even_or_odd": InstructionKind(
        even_or_odd,
        (
            "{tell} whether the number{x} is even or odd",
            "{say} even or odd for the number{x}",
            "check whether the number{x} is even or odd",
            "{tell} which it is, even or odd, the number{x}",
        ),
        ("{tell} whether the number{x} is odd or even", "check the number{x} for even or odd"),
    ),
    "next_number": InstructionKind(
        next_number,
        (
            "{say} the number after the number{x}",
            "add one to the number{x}",
            "{say} the next number after{x}",
            "{tell} which number is next after{x}",
        ),
        ("{tell} which number is after the number{x}", "{say} the number that is next after{x}"),
    ),
    "plural": InstructionKind(
        plural_of_a_noun,
        (
            "put the noun{x} in the plural",
            "{say} the plural of the noun{x}",
            "make a plural of the noun{x}",
            "change the noun{x} to its plural",
        ),
        ("{say} the noun{x} in the plural", "change the noun{x} to a plural"),
    ),
    "past_tense": InstructionKind(
        past_tense_of_a_verb,
        (
            "put the sentence{x} in the past tense",
            "{say} the sentence{x} in the past",
            "change the sentence{x} to the past",
            "{say} the sentence{x} as if it was yesterday",
        ),
        ("{say} the sentence{x} in the past tense", "put the sentence{x} in the past"),
    ),
    "extract_number": InstructionKind(
        extract_number,
        (
            "{say} the number in the sentence{x}",
            "{tell} which number the sentence{x} has",
            "pick the number from the sentence{x}",
            "{say} only the number of the sentence{x}",
        ),
        ("pick the number in the sentence{x}", "{tell} which number is in the sentence{x}"),
    ),
}


def instruction_tasks(
    count: int,
    generator: Generator,
    kinds: Sequence[str] | None = None,
    held_out_wordings: bool = False,
    held_out_contents: bool = False,
) -> list[dict[str, str]]:
    """`count` records of all `kinds` in turn (every kind unless given), each with the usual fields and its "kind".

    The same generator state gives the same records. Wordings and contents are either all from training or all held out;
    which ones are held out depends on the wording or content alone, not on the generator.

    Raises: ConfigError for a kind that does not exist, or for no kind
    """
    kinds = list(TASKS) if kinds is None else list(kinds)
    unknown = [kind for kind in kinds if kind not in TASKS]
    if unknown or not kinds:
        raise ConfigError(f"instruction_tasks: kinds must be among {', '.join(TASKS)}; got {unknown or 'none'}")
    draw = Draw(generator)
    return [_record(kinds[i % len(kinds)], draw, held_out_wordings, held_out_contents) for i in range(count)]


def _record(kind: str, draw: Draw, held_out_wordings: bool, held_out_contents: bool) -> dict[str, str]:
    task = TASKS[kind]
    exercise = task.make(draw)
    while is_held_out(f"{kind}|{exercise.content}", HELD_OUT_SHARE) != held_out_contents:
        exercise = task.make(draw)
    request = draw.one_of(task.held_out_requests if held_out_wordings else task.requests)
    frame = draw.one_of(HELD_OUT_FRAMES if held_out_wordings else FRAMES)
    quoted = draw.number(0, 1) == 1
    request = request.format(
        say=draw.one_of(SAY), tell=draw.one_of(TELL), x=f" '{exercise.content}'" if quoted else "", **exercise.named
    )
    return {
        "instruction": frame.format(request=request, Request=request[0].upper() + request[1:]),
        "input": "" if quoted else exercise.content,
        "output": exercise.answer,
        "kind": kind,
    }
