"""A tokenizer made of stages, each with its settings in a definition: what Hugging Face's `tokenizer.json` holds.

    added tokens -> normalizers -> pre-tokenizers -> model -> post-processor        encoding
    decoders                                                                        decoding

Each stage has a file here. Pieces of text come back again and again, so the ids of each piece are kept: encoding a text
is mostly splitting it and looking up the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Self

from numpy.typing import ArrayLike

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.added_tokens import AddedToken, AddedTokens, read_added_tokens
from tinygrad_llm.text.pipeline.aligned import AlignedText, Span, spans_of
from tinygrad_llm.text.pipeline.bpe_model import BPEModel, read_bpe
from tinygrad_llm.text.pipeline.byte_alphabet import as_bytes
from tinygrad_llm.text.pipeline.decoders import Decoding
from tinygrad_llm.text.pipeline.fields import Fields, read_stage
from tinygrad_llm.text.pipeline.normalizers import read_normalizer
from tinygrad_llm.text.pipeline.piece_ids import PieceIds
from tinygrad_llm.text.pipeline.post_processors import read_post_processor
from tinygrad_llm.text.pipeline.pre_tokenizers import Metaspace, read_pre_tokenizer, split_in_steps, to_bytes
from tinygrad_llm.text.pipeline.unigram_model import UnigramModel, read_unigram
from tinygrad_llm.text.pipeline.word_models import (
    WordLevelModel,
    WordPieceModel,
    read_word_level,
    read_wordpiece,
)
from tinygrad_llm.text.special_tokens import (
    END_OF_TEXT,
    AllowedSpecial,
    expect_allowed,
    expect_special_tokens,
    expect_text,
)
from tinygrad_llm.text.tokenizer import Tokenizer, expect_id, expect_id_row

Model = BPEModel | UnigramModel | WordPieceModel | WordLevelModel

_MODELS: dict[str, Callable[[Fields], Model]] = {
    "BPE": read_bpe,
    "Unigram": read_unigram,
    "WordPiece": read_wordpiece,
    "WordLevel": read_word_level,
}
_BEGINNING = 64  # characters that are normalized to see what becomes of the first one


class PipelineTokenizer(Tokenizer):
    """The tokenizer of a definition; see `interop.tokenizer_from_json` for a file.

    >>> letters = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5}}
    >>> tokenizer = PipelineTokenizer({"model": letters | {"merges": ["a b", "b c", "a bc"]}})
    >>> tokenizer.encode("abc"), tokenizer.offsets("abc")
    ([3, 2], [(0, 2), (2, 3)])
    """

    kind = "pipeline"

    def __init__(self, definition: dict[str, Any], bos_token: str | None = None, eos_token: str | None = None) -> None:
        """`definition` has the keys of a `tokenizer.json`. `bos_token` and `eos_token` name the tokens that begin and
        end a text, which that file does not name.

        Truncation and padding are settings of batches, and are left to the caller.

        Raises: TokenizerError, naming the field, for a definition that is not supported in full
        """
        fields = Fields(definition, "the definition")
        fields.ignore("version", "truncation", "padding")
        self._definition = definition
        self._model = _read_model(fields.raw("model"))
        vocabulary = self._model.vocabulary
        added = read_added_tokens(fields.raw("added_tokens", []), vocabulary)
        self._normalizers = read_normalizer(fields.raw("normalizer", None))
        steps = read_pre_tokenizer(fields.raw("pre_tokenizer", None))
        self._post = read_post_processor(fields.raw("post_processor", None))
        self._decoding = Decoding(fields.raw("decoder", None))
        fields.expect_all_read()
        # The bytes of a piece are written as characters only when its ids are not known yet.
        self._ends_in_bytes = steps[-1:] == [to_bytes]
        self._steps = steps[:-1] if self._ends_in_bytes else steps
        # Like the library, a normalized added token is decoded in its normalized form.
        self._token_of = vocabulary.token_of | {
            token.id: self._normalize(token.content) if token.normalized else token.content for token in added
        }
        self._added_ids = {token.content: token.id for token in added}
        self._added = AddedTokens(added, self._normalize)
        self._ids = PieceIds(self._ids_of_piece)
        self._size = max(self._token_of, default=-1) + 1
        super().__init__([], {token.content: token.id for token in added if token.special})
        self.bos_token, self.eos_token = bos_token, eos_token
        for name in (bos_token, eos_token):
            if name is not None and self.token_id(name) is None:
                raise TokenizerError(f"the token {shown(name)}, which begins or ends a text, must be in the vocabulary")
        beyond = [number for number in self._post.before + self._post.after if number not in self._token_of]
        if beyond:
            raise TokenizerError(f"post_processor: the id {beyond[0]} must be that of a token")

    # The vocabulary.

    @property
    def vocab_size(self) -> int:
        """One more than the highest id; the vocabulary may have gaps, which decode to nothing."""
        return self._size

    def token_id(self, token: str) -> int | None:
        """The id of a token as it is written in the vocabulary, special ones included; None if there is none."""
        return self._added_ids.get(token, self._model.vocabulary.ids.get(token))

    def token(self, token_id: int) -> str | None:
        """The token of an id as it is written in the vocabulary; None for a gap.

        Raises: IdRangeError, DTypeError
        """
        return self._token_of.get(expect_id(token_id, self._size))

    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 bytes of one token within a text; they may be only a part of a character.

        Raises: IdRangeError outside 0..vocab_size - 1, DTypeError for anything but an integer
        """
        token = self.token(token_id)
        return b"" if token is None else self._decoding.bytes_of(token)

    # What begins and ends a text.

    @property
    def template(self) -> tuple[list[int], list[int]]:
        """The ids that the post-processor puts before and after a text."""
        return list(self._post.before), list(self._post.after)

    @property
    def bos_id(self) -> int | None:
        """The id that begins a text: `bos_token`, else the first one of the template; None if there is neither."""
        named = None if self.bos_token is None else self.token_id(self.bos_token)
        return named if named is not None else next(iter(self._post.before), None)

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text: `eos_token`, else the last one of the template, else `<|endoftext|>`."""
        if self.eos_token is not None:
            return self.token_id(self.eos_token)
        return self._post.after[-1] if self._post.after else self._special_tokens.get(END_OF_TEXT)

    @property
    def end_of_text(self) -> int | None:
        """`eos_id`."""
        return self.eos_id

    # Encoding.

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`; the text of a special token is encoded as ordinary text.

        Raises: TokenizerError if the text is no str, not valid Unicode, or not in the vocabulary
        """
        return self._encode(expect_text(text), ())

    def encode(self, text: str, allowed_special: AllowedSpecial = ()) -> list[int]:
        """The ids of `text`, without the template. With "all", as Hugging Face's `encode(add_special_tokens=False)`.

        Raises: TokenizerError for a special token that is not allowed, and as `encode_ordinary`
        """
        return self._encode(text, self._allowed(text, allowed_special))

    def encode_with_stand_ins(self, text: str, stand_ins: Mapping[int, str]) -> list[int]:
        """The ids of a text in which some special tokens are text: a stand-in, which `stand_ins` maps to the character
        that it stands for, keeps them from being found (see interop/chat_form.py).

        Raises: TokenizerError as `encode_ordinary`
        """
        return self._encode(expect_text(text), None, stand_ins)

    def _allowed(self, text: str, allowed_special: AllowedSpecial) -> set[str] | None:
        """The special tokens that are allowed in a text; None for all, of which there may be thousands."""
        if allowed_special == "all":
            expect_text(text)
            return None
        return expect_allowed(text, self._special_tokens, allowed_special)

    def _encode(
        self, text: str, special: Collection[str] | None, stand_ins: Mapping[int, str] | None = None
    ) -> list[int]:
        ids: list[int] = []
        for part, token in self._sections(text, special, stand_ins):
            if token is not None:
                ids.append(token.id)
            else:
                ids += chain.from_iterable(map(self._ids.__getitem__, part))
        return ids

    def offsets(self, text: str, allowed_special: AllowedSpecial = "all") -> list[Span]:
        """The start and end, in characters of `text`, of each token that `encode` gives.

        Raises: TokenizerError as `encode`
        """
        allowed = self._allowed(text, allowed_special)
        tokens: list[str] = []
        offsets: list[Span] = []
        for part, added in self._sections(AlignedText.of(text), allowed):
            if added is not None:
                tokens.append(str(part[0]))
                offsets.append(_extent(spans_of(part[0])))
                continue
            for piece in part:
                written = as_bytes(piece) if self._ends_in_bytes else piece
                spans = [span for one, span in zip(written, spans_of(written), strict=True) for _ in one.encode()]
                content = written.encode()
                for number, start, end in self._model.tokens(str(written)):
                    is_unknown = isinstance(self._model, UnigramModel) and number == self._model.unknown_id
                    tokens.append(content[start:end].decode() if is_unknown else self._token_of[number])
                    offsets.append(_extent(spans[start:end] or spans[-1:]))
        return self._post.trimmed(tokens, offsets)

    def _sections(
        self, text: str, special: Collection[str] | None, stand_ins: Mapping[int, str] | None = None
    ) -> Iterable[tuple[list[str], AddedToken | None]]:
        """The pieces of each stretch of ordinary text and None, and the text of each added token and the token."""
        raw, normalized = self._added.finders(special)
        first = True
        for part, token in raw.split(text):
            if token is not None:
                yield [part], token
            else:
                first = first and self._keeps_start(part)
                for section, inner in normalized.split(self._normalize(part)):
                    if stand_ins is not None:
                        section = section.translate(stand_ins)
                    yield ([section], inner) if inner is not None else (self._pieces(section, first), None)
                    first = False
            first = False

    def _keeps_start(self, text: str) -> bool:
        """Whether the normalized text begins with what the text begins with; asked only if a step depends on it."""
        if not self._normalizers or not any(isinstance(s, Metaspace) and s.scheme == "first" for s in self._steps):
            return True
        for beginning in (text[:_BEGINNING], text):
            spans = spans_of(self._normalize(AlignedText.of(str(beginning))))
            if spans:
                return spans[0][0] == 0
        return False

    def _normalize(self, text: str) -> str:
        for normalizer in self._normalizers:
            text = normalizer(text)
        return text

    def _pieces(self, text: str, first: bool) -> list[str]:
        pieces = split_in_steps(text, first, self._steps)
        if isinstance(self._model, BPEModel) and not self._ends_in_bytes and type(text) is str:
            return list(chain.from_iterable(map(self._model.safe_parts, pieces)))
        return pieces

    def byte_pieces(self, text: str) -> list[bytes] | None:
        """The pieces of a text whose bytes the model merges; None unless it is a byte-level BPE."""
        if not (isinstance(self._model, BPEModel) and self._ends_in_bytes):
            return None
        sections = self._sections(expect_text(text), ())
        return [piece.encode() for part, added in sections if added is None for piece in part]

    def _ids_of_piece(self, piece: str) -> list[int]:
        return self._model.ids(as_bytes(piece) if self._ends_in_bytes else piece)

    def last_cut(self, text: str, start: int) -> int:
        """0: what a stage looks at beyond a cut is not known, so a text is encoded as a whole."""
        return 0

    # Decoding.

    def decode(self, ids: ArrayLike) -> str:
        """The text of a row of ids, special tokens included; ids in a gap of the vocabulary give nothing.

        Shapes: ids (T,)
        Raises: IdRangeError, DTypeError, ShapeError as every tokenizer
        """
        return self._decoding.text(self._tokens_of(expect_id_row(ids, self._size)))

    def is_incomplete(self, ids: Sequence[int]) -> bool:
        """Whether the text of the last id depends on the ids that follow."""
        return self._decoding.is_incomplete(self._tokens_of(ids))

    def _tokens_of(self, ids: Sequence[int]) -> list[str]:
        return [token for token in map(self._token_of.get, ids) if token is not None]

    # Copies and files.

    @property
    def definition(self) -> dict[str, Any]:
        """The definition, with the keys of a `tokenizer.json`."""
        return self._definition

    def with_special_tokens(self, names: Iterable[str]) -> Self:
        """A copy with more special tokens, whose ids follow the existing ones; no existing id changes.

        Raises: TokenizerError for names that are not new
        """
        new = expect_special_tokens(names)
        known = [name for name in new if self.token_id(name) is not None]
        if known:
            raise TokenizerError(f"new special tokens must be new; this vocabulary has {known}")
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        added = [{"id": self._size + index, "content": name, **flags} for index, name in enumerate(new)]
        listed = [*self._definition.get("added_tokens", []), *added]
        return type(self)(self._definition | {"added_tokens": listed}, self.bos_token, self.eos_token)

    def state(self) -> dict[str, Any]:
        """The definition, and the names of the tokens that begin and end a text."""
        return {"definition": self._definition, "bos_token": self.bos_token, "eos_token": self.eos_token}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_state, (self.state(),)  # the stages are closures, which cannot be pickled

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The tokenizer that `state` describes. Raises: TokenizerError"""
        fields = Fields({name: state.get(name) for name in ("definition", "bos_token", "eos_token")}, "the tokenizer")
        return cls(fields.raw("definition"), fields.text("bos_token", None), fields.text("eos_token", None))


def _read_model(value: object) -> Model:
    """The model of a definition; without a type it is BPE, as in old files."""
    if isinstance(value, dict) and "type" not in value:
        value = {"type": "BPE"} | value
    model = read_stage(value, "model", _MODELS)
    if not model.vocabulary.ids:
        raise TokenizerError("model: 'vocab' must hold at least one token; got none")
    return model


def _extent(spans: Sequence[Span]) -> Span:
    return (spans[0][0], spans[-1][1]) if spans else (0, 0)
