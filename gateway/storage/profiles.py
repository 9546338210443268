"""What users say of themselves: a name and a picture, in `profiles/<user>/` of the data directory.

Not below `users/`: there a graph could read and write it (`user://`).
"""

from __future__ import annotations

import io
import json
import logging
import os
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.gateway.errors import BadRequest
from innkeeper.nodes.services.files import write_atomic
from innkeeper.nodes.services.ownership import MARKER

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("innkeeper.gateway.profiles")

MAX_NAME_CHARS = 50
MAX_AVATAR_BYTES = 5 * 1024 * 1024
MAX_AVATAR_PIXELS = 25_000_000
"""As it is decoded: 100 MB."""
AVATAR_SIDE = 512
"""Larger pictures are made smaller, to so many pixels a side."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
_MAX_PROFILE_BYTES = 10_000
_NO_NAME = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Kinds of characters: controls, halves of characters, ends of lines and paragraphs."""


class Profile:
    """One user's name and picture. Blocking methods: call them in a thread."""

    def __init__(self, data_dir: Path, user: str) -> None:
        self._data_dir = data_dir
        self._user = user
        self._file = data_dir / "profiles" / user / "profile.json"
        self._avatar = data_dir / "profiles" / user / "avatar.png"

    def name(self) -> str:
        """The name that the user has chosen, else the user's id. A damaged file counts as none, with a log line."""
        try:
            with self._file.open("rb") as stream:
                name = json.loads(stream.read(_MAX_PROFILE_BYTES))["username"]
            return checked_name(name)
        except FileNotFoundError:
            return self._user
        except (OSError, ValueError, LookupError, TypeError, BadRequest):
            logger.warning("%s cannot be read; the user is called %s", self._file.name, self._user)
            return self._user

    def set_name(self, name: str) -> None:
        """Keep a name that `checked_name` gave. Raises ResourceError when the disk refuses."""
        write_atomic(self._file, json.dumps({"username": name}, ensure_ascii=False).encode(), durable=True)

    def set_avatar(self, picture: bytes) -> None:
        """Keep a picture, as a PNG of our own making: whatever else its file holds does not come with it.

        Raises:
            BadRequest: It is no picture, damaged, or too large.
            ResourceError: The disk refuses.
        """
        write_atomic(self._avatar, _as_avatar(picture), durable=True)

    def avatar(self) -> bytes | None:
        """The picture, a PNG; None when there is none, or none that can be read."""
        try:
            return self._avatar.read_bytes()
        except OSError:
            return None

    def avatar_version(self) -> str | None:
        """Changes with the picture; None when there is none."""
        try:
            return f"{os.stat(self._avatar).st_mtime_ns:x}"
        except OSError:
            return None

    def created_at(self) -> datetime:
        """Since when the data directory is this user's."""
        marker = self._data_dir / MARKER
        return datetime.fromtimestamp(os.stat(marker if marker.exists() else self._data_dir).st_mtime, UTC)


def checked_name(name: object) -> str:
    """A name without spaces around it.

    Raises:
        BadRequest: It is no text, empty, too long, or holds control characters.
    """
    text = name.strip() if isinstance(name, str) else ""
    if not 0 < len(text) <= MAX_NAME_CHARS or any(unicodedata.category(sign) in _NO_NAME for sign in text):
        raise BadRequest(f"'username' must be a text of 1 to {MAX_NAME_CHARS} characters on one line")
    return text


def _as_avatar(picture: bytes) -> bytes:
    # Loaded here: no start of a gateway needs it.
    from PIL import Image, ImageOps

    # The limit is ours, below, and an error instead of a warning.
    Image.MAX_IMAGE_PIXELS = None
    try:
        image: Image.Image = Image.open(io.BytesIO(picture), formats=FORMATS)
        # Large JPEGs of cameras are decoded at a fraction of their size; other formats cannot be.
        image.draft(None, (2 * AVATAR_SIDE, 2 * AVATAR_SIDE))
        if image.width * image.height > MAX_AVATAR_PIXELS:
            size = f"{image.width} x {image.height}"
            raise BadRequest(f"the picture has {size} pixels; {MAX_AVATAR_PIXELS:,} are allowed")
        image = ImageOps.exif_transpose(image)
        return _png_of(image)
    except BadRequest:
        raise
    except Exception:  # Pillow's readers raise nearly anything over damaged files
        raise BadRequest("the file is not a picture that can be read: PNG, JPEG, GIF and WebP can") from None


def _png_of(image: Image) -> bytes:
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((AVATAR_SIDE, AVATAR_SIDE))
    # Text and profiles of the file stay behind.
    small.info.clear()
    target = io.BytesIO()
    small.save(target, "PNG")
    return target.getvalue()
