"""Exercises with computed answers: random words and numbers, and the answer of each kind of task on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tinygrad_llm.data.choices import Choices, T

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
NOUNS = (
    "apple",
    "baby",
    "ball",
    "bench",
    "bird",
    "boat",
    "book",
    "box",
    "boy",
    "bridge",
    "brush",
    "bus",
    "cake",
    "car",
    "cat",
    "chair",
    "church",
    "city",
    "class",
    "cloud",
    "coat",
    "cow",
    "cup",
    "day",
    "desk",
    "dish",
    "dog",
    "door",
    "dress",
    "duck",
    "engine",
    "farm",
    "field",
    "flag",
    "flower",
    "fly",
    "fox",
    "friend",
    "game",
    "garden",
    "glass",
    "hat",
    "hill",
    "horse",
    "house",
    "island",
    "jar",
    "key",
    "king",
    "lady",
    "lake",
    "lamp",
    "map",
    "match",
    "monkey",
    "moon",
    "nest",
    "note",
    "ocean",
    "page",
    "park",
    "party",
    "path",
    "pen",
    "pencil",
    "picture",
    "plane",
    "plant",
    "plate",
    "queen",
    "river",
    "road",
    "room",
    "school",
    "ship",
    "shop",
    "sister",
    "song",
    "spoon",
    "star",
    "stone",
    "story",
    "street",
    "student",
    "table",
    "teacher",
    "tiger",
    "town",
    "toy",
    "train",
    "tree",
    "truck",
    "valley",
    "village",
    "wall",
    "watch",
    "window",
    "wish",
)
VERBS = (
    "add",
    "ask",
    "bake",
    "call",
    "carry",
    "clean",
    "close",
    "cook",
    "copy",
    "cry",
    "dance",
    "enjoy",
    "fill",
    "follow",
    "help",
    "jump",
    "kick",
    "laugh",
    "like",
    "listen",
    "live",
    "look",
    "love",
    "mix",
    "move",
    "need",
    "open",
    "paint",
    "play",
    "pull",
    "push",
    "rain",
    "reply",
    "save",
    "show",
    "smile",
    "start",
    "stay",
    "study",
    "talk",
    "touch",
    "try",
    "use",
    "visit",
    "wait",
    "walk",
    "want",
    "wash",
    "watch",
    "work",
)


@dataclass(frozen=True)
class Exercise:
    """The content of an instruction, its answer, and other values that the request mentions."""

    content: str
    answer: str
    named: dict[str, str] = field(default_factory=dict)


class Draw(Choices):
    """Draws random words and numbers, the parts of contents, one at a time: the generator may be used by others too."""

    def below(self, count: int) -> int:
        return int(self.generator.randint(0, count))

    def number(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + self.below(high - low + 1)

    def several_of(self, choices: Sequence[T], low: int, high: int) -> list[T]:
        """Between low and high distinct choices."""
        return [choices[i] for i in self.generator.randperm(len(choices))[: self.number(low, high)]]

    def made_up_word(self) -> str:
        """Two or three syllables, such as "bako": too many possible words to memorise."""
        return "".join(self.one_of(CONSONANTS) + self.one_of(VOWELS) for _ in range(self.number(2, 3)))

    def nouns(self, low: int = 3, high: int = 5) -> list[str]:
        return self.several_of(NOUNS, low, high)

    def numbers(self, low: int = 3, high: int = 4) -> list[int]:
        return self.several_of(range(1, 100), low, high)


def on_a_word(answer: Callable[[str], str]) -> Callable[[Draw], Exercise]:
    """An exercise on one made-up word."""

    def make(draw: Draw) -> Exercise:
        word = draw.made_up_word()
        return Exercise(word, answer(word))

    return make


def on_words(answer: Callable[[list[str]], str]) -> Callable[[Draw], Exercise]:
    """An exercise on a few words."""

    def make(draw: Draw) -> Exercise:
        words = draw.nouns()
        return Exercise(" ".join(words), answer(words))

    return make


def on_numbers(answer: Callable[[list[int]], str]) -> Callable[[Draw], Exercise]:
    """An exercise on a few distinct numbers below 100."""

    def make(draw: Draw) -> Exercise:
        numbers = draw.numbers()
        return Exercise(listed(numbers), answer(numbers))

    return make


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def count_letter(draw: Draw) -> Exercise:
    word = draw.made_up_word()
    letter = draw.one_of(word if draw.number(0, 3) else LETTERS)
    return Exercise(word, str(word.count(letter)), {"letter": letter})


def contains_letter(draw: Draw) -> Exercise:
    word = draw.made_up_word()
    letter = draw.one_of(word) if draw.number(0, 1) else draw.one_of([x for x in LETTERS if x not in word])
    return Exercise(word, "yes" if letter in word else "no", {"letter": letter})


def lowercase(draw: Draw) -> Exercise:
    words = " ".join(draw.nouns(2, 3))
    return Exercise(words.upper(), words)


def longest_word(draw: Draw) -> Exercise:
    words = draw.nouns()
    while sorted(map(len, words))[-1] == sorted(map(len, words))[-2]:
        words = draw.nouns()
    return Exercise(" ".join(words), max(words, key=len))


def add(draw: Draw) -> Exercise:
    a, b = draw.number(1, 20), draw.number(1, 20)
    return Exercise(f"{a} and {b}", str(a + b))


def subtract(draw: Draw) -> Exercise:
    a, b = draw.number(1, 30), draw.number(1, 30)
    return Exercise(f"{a} and {b}", str(abs(a - b)))


def multiply(draw: Draw) -> Exercise:
    a, b = draw.number(2, 12), draw.number(2, 12)
    return Exercise(f"{a} and {b}", str(a * b))


def even_or_odd(draw: Draw) -> Exercise:
    number = draw.number(0, 999)
    return Exercise(str(number), "odd" if number % 2 else "even")


def next_number(draw: Draw) -> Exercise:
    number = draw.number(0, 998)
    return Exercise(str(number), str(number + 1))


def repeat(draw: Draw) -> Exercise:
    word, times = draw.made_up_word(), draw.number(2, 4)
    return Exercise(word, " ".join([word] * times), {"times": ("two", "three", "four")[times - 2]})


def plural_of_a_noun(draw: Draw) -> Exercise:
    noun = draw.one_of(NOUNS)
    number = draw.number(2, 99)
    return Exercise(f"{number} {noun}", f"{number} {pluralise(noun)}")


def past_tense_of_a_verb(draw: Draw) -> Exercise:
    subject, verb = draw.one_of(("I", "you", "we", "they", *NOUNS)), draw.one_of(VERBS)
    subject = subject if subject in ("I", "you", "we", "they") else f"the {pluralise(subject)}"
    return Exercise(f"{subject} {verb}", f"{subject} {past_tense(verb)}")


def extract_number(draw: Draw) -> Exercise:
    number, noun = str(draw.number(2, 99)), draw.one_of(NOUNS)
    sentence = draw.one_of(("there are {} {} here", "we saw {} {} today", "she has {} {}", "give me {} {}"))
    return Exercise(sentence.format(number, pluralise(noun)), number)


def replace_word(draw: Draw) -> Exercise:
    *words, new = draw.nouns(4, 6)
    old = draw.one_of(words)
    return Exercise(" ".join(words), " ".join(new if word == old else word for word in words), {"old": old, "new": new})


def remove_word(draw: Draw) -> Exercise:
    words = draw.nouns()
    gone = draw.one_of(words)
    return Exercise(" ".join(words), " ".join(word for word in words if word != gone), {"gone": gone})


def pluralise(noun: str) -> str:
    """The regular plural: boxes, cities, boys, dogs."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if _ends_in_consonant_and_y(noun) else noun + "s"


def past_tense(verb: str) -> str:
    """The regular past tense: baked, cried, played, walked."""
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if _ends_in_consonant_and_y(verb) else verb + "ed"


def _ends_in_consonant_and_y(word: str) -> bool:
    return word.endswith("y") and word[-2] not in VOWELS
