"""Text from tokens: whole characters, stop strings, and the tokens that belong to each piece."""

from hypothesis import given
from hypothesis import strategies as st
from tiny_chat import chat_tokenizer

from tinygrad_llm.serve.choice_text import ChoiceText, Piece, echo_of
from tinygrad_llm.serve.token_choice import Token

BYTES = chat_tokenizer()  # its tokens are bytes


def pieces_of(data: bytes, *stops: str, begin: int = 0) -> tuple[list[Piece], bool]:
    text, pieces = ChoiceText(BYTES, [], stops, begin), []
    for byte in data:
        pieces.append(text.push(Token(byte)))
        if text.stopped:
            return pieces, True
    return [*pieces, text.finish()], False


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_the_pieces_are_the_text_before_the_first_stop(text: str, stops: list[str]) -> None:
    pieces, stopped = pieces_of(text.encode(), *stops)
    ends = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    expected = text[: min(ends)[1]] if ends else text
    assert "".join(piece.text for piece in pieces) == expected
    assert stopped == bool(ends)
    tokens = [placed for piece in pieces for placed in piece.tokens]
    assert bytes(placed.token.id for placed in tokens) == expected.encode()
    assert all(expected[placed.begin :].encode()[:1] for placed in tokens)


def test_a_character_comes_whole_or_not_at_all() -> None:
    pieces, _ = pieces_of("né€".encode()[:-1])
    assert [piece.text for piece in pieces] == ["n", "", "é", "", "", ""]
    assert [len(piece.tokens) for piece in pieces] == [1, 0, 2, 0, 0, 2]


def test_bytes_that_are_no_character_are_shown_as_one() -> None:
    assert "".join(piece.text for piece in pieces_of(b"a\xffb")[0]) == "a\ufffdb"


def test_tokens_begin_after_an_echo() -> None:
    pieces, _ = pieces_of(b"ab", begin=5)
    assert [placed.begin for piece in pieces for placed in piece.tokens] == [5, 6]


def test_an_echo_places_what_stands_before_the_text_at_its_beginning() -> None:
    echo = echo_of(BYTES, "hé", [Token(257), *map(Token, "hé".encode())])
    assert echo.text == "hé"
    assert [placed.begin for placed in echo.tokens] == [0, 0, 1, 1]
    assert echo_of(BYTES, "hé", []) == Piece("hé", [])
