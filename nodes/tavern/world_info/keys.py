"""Keys: regular expressions in slashes, plain texts, and lists of both written as one text."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from innkeeper.nodes.tavern.environment import BadPattern, JsPattern, JsRegexes

# White space as JavaScript's trim and \s know it.
JS_SPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_HAS_SPACE = re.compile(f"[{JS_SPACE}]")
_FLAGS = frozenset("gimsuy")
_UNESCAPED_SLASH = re.compile(r"(?:^|[^\\])/")
_SHOWN = {"/": "\\/", "\n": "\\n", "\r": "\\r", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_SOURCE_PART = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|[/\n\r\u2028\u2029]", re.DOTALL)
_WORD = re.compile(r"[A-Za-z0-9_]+")


class Probe(NamedTuple):
    """A plain key to look for. `text` is in lower case unless `case_sensitive`."""

    text: str
    case_sensitive: bool
    whole_word: bool

    @classmethod
    def of(cls, key: str, case_sensitive: bool, whole_words: bool) -> Probe:
        """Whole words hold for keys of one word only; a key with white space is any part of the text."""
        text = key if case_sensitive else key.lower()
        return cls(text, case_sensitive, whole_words and not _HAS_SPACE.search(text))

    @property
    def is_word(self) -> bool:
        """Can it be found by splitting the text into words?"""
        return self.whole_word and _WORD.fullmatch(self.text) is not None

    def is_in(self, text: str) -> bool:
        """Look in a text that is in lower case unless `case_sensitive`."""
        if not self.whole_word:
            return self.text in text
        start = text.find(self.text)
        while start >= 0:
            if _is_edge(text, start - 1) and _is_edge(text, start + len(self.text)):
                return True
            start = text.find(self.text, start + 1)
        return False


def words_of(text: str) -> set[str]:
    return set(_WORD.findall(text))


def parse_key(key: str, regexes: JsRegexes) -> JsPattern | None:
    """The pattern of a key `/pattern/flags`; None when the key is plain text, slashes included."""
    parts = split_regex(key)
    if parts is None:
        return None
    try:
        return regexes.compile(*parts)
    except BadPattern:
        return None


def split_regex(key: str) -> tuple[str, str] | None:
    """Pattern and flags of what is written like a regular expression; it need not be a valid one.

    Flags come in alphabetical order.
    """
    if not key.startswith("/"):
        return None
    body, _, flags = key[1:].rpartition("/")
    if not body or not _FLAGS.issuperset(flags) or len(set(flags)) < len(flags) or _UNESCAPED_SLASH.search(body):
        return None
    return _shown_pattern(body.replace("\\/", "/")), "".join(sorted(flags))


def _shown_pattern(body: str) -> str:
    """A pattern as JavaScript shows it: line ends as escapes, slashes escaped outside of classes."""
    return _SOURCE_PART.sub(lambda match: _SHOWN.get(match[0], match[0]), body)


def split_keys(text: str, regexes: JsRegexes | None = None) -> tuple[str, ...]:
    """A list of keys written as one text: split at commas, but not inside what begins like a regular expression.

    With `regexes` what only looks like a regular expression and is none is split, too.
    """
    keys: list[str] = []
    index = start = slashes = 0
    while index < len(text):
        if text[index] == "/" and text[index - 1 : index] != "\\":
            slashes += 1
        elif text[index] == "," and slashes != 1:
            keys += _unsplit_key(text[start:index], regexes)
            # the character after a comma belongs to the next key, whatever it is
            start, slashes, index = index + 1, 0, index + 1
        index += 1
    keys.append(text[start:])
    return tuple(key for key in (item.strip(JS_SPACE) for item in keys) if key)


def _unsplit_key(key: str, regexes: JsRegexes | None) -> list[str]:
    """A key with commas stays one, unless it begins like a regular expression and is none."""
    bare = key.strip(JS_SPACE)
    if not bare.startswith("/"):
        return [key]
    is_regex = split_regex(bare) is not None and (regexes is None or parse_key(bare, regexes) is not None)
    return [key] if is_regex else key.split(",")


def key_texts(value: Any, *, split: bool = True) -> tuple[str, ...]:
    """The keys of a file's value. YAML reads some words as numbers, booleans or nothing: they become text again.

    With `split` a single text is a list of keys; without, it holds none.
    """
    if isinstance(value, list):
        return tuple([text for text in map(_key_text, value) if text is not None])
    if not split or value is None:
        return ()
    text = _key_text(value)
    return split_keys(text) if text else ()


def _key_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return short_number_text(value) if isinstance(value, int | float) else None


def short_number_text(value: float) -> str:
    """A number as text; one too long to be a name of anything becomes ""."""
    return str(value) if abs(value) < 1e300 else ""


def _is_edge(text: str, index: int) -> bool:
    """No word character there. Words are of ASCII letters, digits and underscore, whatever the language."""
    return not 0 <= index < len(text) or not (text[index].isascii() and (text[index].isalnum() or text[index] == "_"))
