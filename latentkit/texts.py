"""Texts of others, as pages and terminals can show them: names, notes and what files say.

A checkpoint's classes or a film's record may hold any character that JSON can. Some of them no file in UTF-8 can hold
(half of a surrogate pair), some are orders to a terminal (an escape), and some turn round what is written after them.
"""

import unicodedata

__all__ = ["readable"]

#: Kinds of characters that are not shown as they are: control characters, and halves of surrogate pairs.
_UNSEEN = frozenset({"Cc", "Cs"})

#: Marks that reverse what follows, up to a mark that ends them or the paragraph's end. Those that act on themselves
#: alone, which Arabic and Hebrew need (U+200E, U+200F, U+061C), stay.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

#: Control characters that are mere layout.
_LAYOUT = frozenset("\t\n")


def readable(text: str) -> str:
    r"""Return a text with each character that cannot be shown, or that changes how others are, as its code.

    All others, markup among them, stay as they are: escaping is for whoever puts the text into a page. What is
    readable already comes back as it is.

    References:
        Boucher and Anderson (2021), "Trojan Source: Invisible Vulnerabilities": names that are not what they look like.

    Examples:
        >>> readable("a <b> \u5b9f\u9a13 \x1b[2J \u202egnp.exe")
        'a <b> 実験 \\x1b[2J \\u202egnp.exe'
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_code, text))


def _code(character: str) -> str:
    hidden = character in _TURNING or (character not in _LAYOUT and unicodedata.category(character) in _UNSEEN)
    return character.encode("unicode_escape").decode("ascii") if hidden else character
