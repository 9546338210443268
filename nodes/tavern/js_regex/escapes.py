"""What stands behind a backslash: one character, or a set of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import regex

from innkeeper.nodes.tavern.js_regex.characters import DIGITS, SPACE, WORD, WORD_FOLDED, CharSet, Ranges, complement
from innkeeper.nodes.tavern.js_regex.scan import Groups, refuse

_CONTROLS = {"f": 0x0C, "n": 0x0A, "r": 0x0D, "t": 0x09, "v": 0x0B}
_SYNTAX = frozenset("^$\\.*+?()[]{}|/")
_SET_SYNTAX = frozenset("&-!#%,:;<=>@`~")
_PROPERTY = re.compile(r"\{([A-Za-z_]+)(?:=([A-Za-z0-9_]+))?\}")
_KEYS = {
    "General_Category": "gc", "gc": "gc", "Script": "sc", "sc": "sc", "Script_Extensions": "scx", "scx": "scx",
}  # fmt: skip
_BINARY = frozenset(
    """
    ASCII ASCII_Hex_Digit AHex Alphabetic Alpha Any Assigned Bidi_Control Bidi_C Bidi_Mirrored Bidi_M
    Case_Ignorable CI Cased Changes_When_Casefolded CWCF Changes_When_Casemapped CWCM Changes_When_Lowercased CWL
    Changes_When_NFKC_Casefolded CWKCF Changes_When_Titlecased CWT Changes_When_Uppercased CWU Dash
    Default_Ignorable_Code_Point DI Deprecated Dep Diacritic Dia Emoji Emoji_Component EComp Emoji_Modifier EMod
    Emoji_Modifier_Base EBase Emoji_Presentation EPres Extended_Pictographic ExtPict Extender Ext Grapheme_Base
    Gr_Base Grapheme_Extend Gr_Ext Hex_Digit Hex IDS_Binary_Operator IDSB IDS_Trinary_Operator IDST ID_Continue
    IDC ID_Start IDS Ideographic Ideo Join_Control Join_C Logical_Order_Exception LOE Lowercase Lower Math
    Noncharacter_Code_Point NChar Pattern_Syntax Pat_Syn Pattern_White_Space Pat_WS Quotation_Mark QMark Radical
    Regional_Indicator RI Sentence_Terminal STerm Soft_Dotted SD Terminal_Punctuation Term Unified_Ideograph UIdeo
    Uppercase Upper Variation_Selector VS White_Space space XID_Continue XIDC XID_Start XIDS
    """.split()  # noqa: SIM905  # a hundred quoted names are no easier to read
)


@dataclass
class Reader:
    """A pattern and how far it is read, with what its flags say about escapes."""

    source: str
    groups: Groups
    unicode: bool = False
    sets: bool = False
    ignore_case: bool = False
    position: int = 0

    @property
    def char(self) -> str:
        """The next character; empty at the end."""
        return self.source[self.position : self.position + 1]

    @property
    def folds_words(self) -> bool:
        """Do two letters beyond ASCII count as word characters?"""
        return self.unicode and self.ignore_case

    def take(self) -> str:
        char = self.char
        self.position += 1
        return char

    def eat(self, text: str) -> bool:
        if self.source.startswith(text, self.position):
            self.position += len(text)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.source, self.position)
        if found:
            self.position = found.end()
        return found

    def refuse(self, reason: str) -> Exception:
        return refuse(reason, self.position)


_HEX2, _HEX4 = re.compile("[0-9a-fA-F]{2}"), re.compile("[0-9a-fA-F]{4}")
_HEX_BRACES = re.compile(r"\{([0-9a-fA-F]+)\}")
_OCTAL = re.compile("[0-3][0-7]{0,2}|[4-7][0-7]?")
_TRAIL = re.compile("\\\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def read_escape(reader: Reader, *, in_class: bool = False) -> int | CharSet:
    """The character or set of an escape; the backslash is already read. Backreferences are not read here."""
    if not reader.char:
        raise reader.refuse("a backslash at the end")
    found = _class_escape(reader)
    return found if found is not None else _character(reader, in_class)


def _class_escape(reader: Reader) -> CharSet | None:
    letter = reader.char
    word: Ranges = WORD_FOLDED if reader.folds_words else WORD
    ranges = {"d": DIGITS, "s": SPACE, "w": word}.get(letter.lower())
    if ranges is not None:
        reader.position += 1
        return CharSet(ranges if letter.islower() else complement(ranges))
    if letter in ("p", "P") and reader.unicode:
        return _property(reader)
    return None


def _property(reader: Reader) -> CharSet:
    letter = reader.take()
    found = reader.match(_PROPERTY)
    text = _property_text(found[1], found[2] or "") if found else None
    if text is None:
        raise reader.refuse("an unknown character property")
    return CharSet(properties=(f"\\{letter}{{{text}}}",))


@cache
def _property_text(name: str, value: str) -> str | None:
    """The property as `regex` writes it; None when JavaScript has no such property."""
    key = _KEYS.get(name) if value else "gc"
    if key is None:
        return None
    if not value and name in _BINARY:
        return _known(name)
    # `regex` knows no script extensions; scripts come nearest.
    return _known(f"{'sc' if key == 'scx' else key}={value or name}")


def _known(text: str) -> str | None:
    try:
        regex.compile(f"\\p{{{text}}}")
    except regex.error:
        return None
    return text


def _character(reader: Reader, in_class: bool) -> int:
    letter = reader.take()
    if letter in _CONTROLS:
        return _CONTROLS[letter]
    if letter == "b" and in_class:
        return 0x08
    if letter == "c":
        return _control(reader, in_class)
    if letter.isascii() and letter.isdigit():
        return _octal_escape(reader, letter)
    if letter == "x" and (digits := reader.match(_HEX2)):
        return int(digits[0], 16)
    if letter == "u" and (code := _code_point(reader)) is not None:
        return code
    return _itself(reader, letter, in_class)


def _control(reader: Reader, in_class: bool) -> int:
    letter = reader.char
    if letter.isascii() and (
        letter.isalpha() or (in_class and not reader.unicode and (letter.isdigit() or letter == "_"))
    ):
        return ord(reader.take()) % 32
    if reader.unicode:
        raise reader.refuse("a bad control character")
    # Without u the backslash stands for itself, and the c as well.
    reader.position -= 1
    return ord("\\")


def _octal_escape(reader: Reader, digit: str) -> int:
    if reader.unicode:
        if digit == "0" and not (reader.char.isascii() and reader.char.isdigit()):
            return 0
        raise reader.refuse("a bad escape")
    if digit in "89":
        return ord(digit)
    reader.position -= 1
    octal = reader.match(_OCTAL)
    assert octal is not None
    return int(octal[0], 8)


def _code_point(reader: Reader) -> int | None:
    if reader.unicode and (braces := reader.match(_HEX_BRACES)):
        code = int(braces[1].lstrip("0")[:7] or "0", 16)
        if code > 0x10FFFF:
            raise reader.refuse("a character that does not exist")
        return code
    digits = reader.match(_HEX4)
    if not digits:
        return None
    code = int(digits[0], 16)
    if reader.unicode and 0xD800 <= code < 0xDC00 and (trail := reader.match(_TRAIL)):
        return 0x10000 + ((code - 0xD800) << 10) + int(trail[1], 16) - 0xDC00
    return code


def _itself(reader: Reader, letter: str, in_class: bool) -> int:
    if reader.unicode:
        allowed = letter in _SYNTAX or (in_class and (letter == "-" or (reader.sets and letter in _SET_SYNTAX)))
    else:
        allowed = letter != "k" or not reader.groups.names
    if not allowed:
        raise reader.refuse("a bad escape")
    return ord(letter)
