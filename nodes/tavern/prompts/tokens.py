"""Counting tokens: exactly where tiktoken and its data are at hand, else an estimate. Never by network."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from innkeeper.nodes.tavern.environment import CountTokens

CHARACTERS_PER_TOKEN = 3.35
DEFAULT_ENCODING = "o200k_base"
_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_DATA = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
"""Encodings of chat models and the sha256 of their data."""
_SAME_DATA = {"o200k_harmony": "o200k_base"}


@dataclass(frozen=True)
class Counter:
    """Tokens of a text, and the name of what counts them."""

    name: str
    count: CountTokens

    def __call__(self, text: str) -> int:
        return self.count(text)


def estimate(text: str) -> int:
    """Characters / 3.35, rounded up."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def counter(model: str | None = None) -> Counter:
    """The best counter for a model; without a name that of today's OpenAI models.

    tiktoken serves when it is installed, knows the model, and has the encoding's data in its cache
    (`TIKTOKEN_CACHE_DIR`). A damaged cache file counts as missing: tiktoken would fetch it anew.
    """
    name = _encoding_name(model)
    data = _SAME_DATA.get(name, name)
    if data not in _DATA or not _is_at_hand(data, _cache_dir()):
        return Counter(f"characters / {CHARACTERS_PER_TOKEN}", estimate)
    return Counter(f"tiktoken {data}", _exact(data))


def _encoding_name(model: str | None) -> str:
    try:
        from tiktoken.model import encoding_name_for_model
    except ImportError:
        return ""
    try:
        return encoding_name_for_model(model.rpartition("/")[2]) if model else DEFAULT_ENCODING
    except KeyError:
        return ""


def _cache_dir() -> Path | None:
    """The folder with tiktoken's data, when the operator named one: in temporary folders anybody may put files."""
    given = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    return Path(given) if given else None


def _is_at_hand(encoding: str, folder: Path | None) -> bool:
    if folder is None:
        return False
    file = folder / hashlib.sha1(_ADDRESS.format(encoding).encode(), usedforsecurity=False).hexdigest()
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == _DATA[encoding]
    except OSError:
        return False


@cache
def _exact(encoding: str) -> CountTokens:
    import tiktoken

    tokens = tiktoken.get_encoding(encoding)
    return lambda text: len(tokens.encode_ordinary(text))
