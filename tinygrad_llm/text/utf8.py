"""UTF-8 that is cut anywhere."""

import codecs


def ends_within_character(content: bytes) -> bool:
    """Whether more bytes could complete a character of UTF-8 at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.decode(content)
    return bool(decoder.getstate()[0])
