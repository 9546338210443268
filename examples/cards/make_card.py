"""Draws a lighthouse and writes `wenna.json` into the picture: a PNG character card.

python examples/cards/make_card.py
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

from innkeeper.nodes.tavern.cards import write_png

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 400, 600
HORIZON = 430
NIGHT_TOP, NIGHT_LOW = (14, 20, 48), (70, 84, 128)
SEA, ROCK, WALL, RED, LIGHT = (18, 34, 60), (30, 28, 36), (226, 222, 210), (168, 44, 40), (255, 226, 150)


def draw() -> Image.Image:
    """A tower on a rock, its beam over the sea, at night."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    canvas = ImageDraw.Draw(image, "RGBA")
    _sky(canvas)
    _beam(canvas)
    _sea(canvas)
    _tower(canvas)
    return image.quantize(64)


def _sky(canvas: ImageDraw.ImageDraw) -> None:
    for y in range(HORIZON):
        part = y / HORIZON
        colour = tuple(round(top + (low - top) * part) for top, low in zip(NIGHT_TOP, NIGHT_LOW, strict=True))
        canvas.line((0, y, WIDTH, y), fill=colour)
    for number in range(70):
        # Stars stand still: the same picture comes out every time.
        x, y = (number * 149) % WIDTH, (number * number * 37) % (HORIZON - 140)
        canvas.point((x, y), fill=(255, 255, 255, 120 + (number * 53) % 130))


def _beam(canvas: ImageDraw.ImageDraw) -> None:
    for spread in range(6):
        canvas.polygon(
            ((200, 176), (WIDTH, 96 - spread * 9), (WIDTH, 186 + spread * 9)), fill=(*LIGHT, 22 if spread else 60)
        )


def _sea(canvas: ImageDraw.ImageDraw) -> None:
    canvas.rectangle((0, HORIZON, WIDTH, HEIGHT), fill=SEA)
    for row in range(16):
        y = HORIZON + 8 + row * 11
        wave = [(x, y + 3 * math.sin(x / (14 + row) + row)) for x in range(0, WIDTH + 8, 8)]
        canvas.line(wave, fill=(90, 120, 160, 150 - row * 6), width=1 + row // 6)


def _tower(canvas: ImageDraw.ImageDraw) -> None:
    canvas.polygon(((70, 520), (120, 452), (180, 430), (250, 436), (300, 470), (344, 524), (200, 552)), fill=ROCK)
    canvas.polygon(((168, 444), (178, 206), (222, 206), (232, 444)), fill=WALL)
    for number in range(3):
        top = 246 + number * 66
        slope = (top - 206) * 10 / 238
        canvas.polygon(
            ((178 - slope, top), (222 + slope, top), (223 + slope, top + 30), (177 - slope, top + 30)), fill=RED
        )
    canvas.rectangle((194, 420, 206, 444), fill=ROCK)
    canvas.rectangle((170, 198, 230, 206), fill=ROCK)
    canvas.rectangle((184, 158, 216, 198), fill=LIGHT)
    for x in (184, 200, 216):
        canvas.line((x, 158, x, 198), fill=ROCK, width=2)
    canvas.polygon(((178, 158), (222, 158), (200, 134)), fill=RED)


def main() -> None:
    picture = io.BytesIO()
    draw().save(picture, "PNG", optimize=True)
    card = json.loads((FOLDER / "wenna.json").read_text(encoding="utf-8"))
    (FOLDER / "wenna.png").write_bytes(write_png(picture.getvalue(), card))


if __name__ == "__main__":
    main()
