"""Makes docs/images/demo.svg: the demo's run, whose worker is killed in mid-sentence, as the live view shows it.

    python -m tests.docs.make_images [FILE]

A whole stack runs in a temporary folder; what the picture shows is what it did. The frames are one file that moves by
CSS alone. Where nothing moves, the last frame stands. The file names no font and no host to be loaded.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson
from rich.console import Console, Group, RenderableType
from rich.segment import Segment, SegmentLines
from rich.text import Text

from innkeeper.gateway.cli.live_view import LiveView, node_names, outcome
from innkeeper.gateway.client import Event, GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.docs.pages import DOCS, ROOT

STORY = ROOT / "examples" / "story.json"
COLUMNS = 96
TELLER = "tell"
WORDS_BEFORE_KILL = 45
STEP_CHARS = 100
"""Streamed characters between two frames."""

Lines = list[list[Segment]]

# Rich's own template loads fonts from another host and holds one frame.
FRAME = """<style>{styles}</style><defs>{lines}</defs>{backgrounds}<g class="{unique_id}-matrix">{matrix}</g>"""
WHOLE = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>A run of the demo: its worker is killed while the story is told, and the run completes</title>
<style>
text {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
FRAME_STYLES
</style>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
FRAMES
</g>
</svg>
"""


@dataclass(frozen=True)
class Frame:
    """One picture of the terminal, and how long it stands."""

    lines: Lines
    seconds: float


class Film:
    """Frames of a terminal, all of one width."""

    def __init__(self) -> None:
        self.console = Console(
            width=COLUMNS, height=40, force_terminal=True, color_system="truecolor", file=io.StringIO(), record=True
        )
        self.frames: list[Frame] = []

    def take(self, seconds: float, *shown: RenderableType) -> None:
        lines = self.console.render_lines(Group(*shown), pad=False)
        self.frames.append(Frame(lines, seconds))


class Demo:
    """The run as somebody watches it, and what that person types.

    Attributes:
        killed: The worker has been killed.
        told: Text of the story in its present attempt.
    """

    def __init__(self, film: Film, view: LiveView) -> None:
        self._film = film
        self._view = view
        self._typed = [typed("innkeeper run examples/story.json")]
        self._taken = 0
        self.told = ""
        self.killed = False

    def shoot(self, seconds: float, *below: RenderableType) -> None:
        self._film.take(seconds, *self._typed, self._view.draw(), *below)

    def show(self, event: Event) -> None:
        self._view.show(event)
        kind, payload = event["type"], event["payload"]
        if kind == "NODE_COMPLETE" and payload["nodeId"] == "hero_sketch":
            self.shoot(1.2)
        elif kind == "NODE_STREAM_RESET":
            self.told, self._taken = "", 0
        elif kind == "NODE_EXECUTING" and payload["nodeId"] == TELLER and self.killed:
            self.shoot(1.5)
        elif kind == "NODE_YIELD" and payload["sourceNodeId"] == TELLER:
            self.told += str(payload["yieldedContent"]["content"])
            if len(self.told) - self._taken >= STEP_CHARS:
                self._taken = len(self.told)
                self.shoot(0.5)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.killed = True
        self._typed.append(typed(f"kill -9 {pid}", "   # worker-1, from another terminal"))
        self.shoot(2.5)


def typed(command: str, comment: str = "") -> Text:
    return Text.assemble(("$ ", "green"), (command, "bold"), (comment, "dim"))


async def play(folder: Path) -> Film:
    """Run the demo, kill its worker while the story is told, and watch until the end."""
    film, document = Film(), orjson.loads(STORY.read_bytes())
    async with LocalStack(StackOptions(folder)) as stack, GatewayClient(stack.url) as client:
        demo = Demo(film, LiveView(film.console, node_names(document), document["name"]))
        run = await client.submit(document)
        async for event in client.events(run):
            demo.show(event)
            if not demo.killed and len(demo.told.split()) >= WORDS_BEFORE_KILL:
                demo.kill(stack.pids()["worker-1"])
        result = await client.status(run)
    assert (result["status"], result["nodeStatus"][TELLER]["attempts"]) == ("complete", 2)
    demo.shoot(6.0, *outcome({"outputs": {"story": result["outputs"]["story"]}}))
    return film


def as_svg(film: Film) -> str:
    """All frames as one picture; each is hidden but for its share of the time."""
    height = max(len(frame.lines) for frame in film.frames)
    whole = sum(frame.seconds for frame in film.frames)
    groups, styles, begun = [], [f".frame {{ opacity: 0; animation: {whole:.1f}s step-end infinite; }}"], 0.0
    for number, frame in enumerate(film.frames):
        is_last = number == len(film.frames) - 1
        groups.append(f'<g class="frame" id="frame-{number}">{export(film, frame.lines, height, FRAME, number)}</g>')
        start, end = 100 * begun / whole, 100 * (begun + frame.seconds) / whole
        hidden = "" if is_last else f" {end:.2f}% {{ opacity: 0; }}"
        before = "0% { opacity: 0; } " if number else ""
        styles.append(f"@keyframes show-{number} {{ {before}{start:.2f}% {{ opacity: 1; }}{hidden} }}")
        styles.append(f"#frame-{number} {{ animation-name: show-{number};{' opacity: 1;' if is_last else ''} }}")
        begun += frame.seconds
    styles.append("@media (prefers-reduced-motion: reduce) { .frame { animation: none; } }")
    picture = export(film, film.frames[-1].lines, height, WHOLE, len(film.frames))
    return picture.replace("FRAME_STYLES", "\n".join(styles)).replace("FRAMES", "\n".join(groups))


def export(film: Film, lines: Lines, height: int, template: str, number: int) -> str:
    """What Rich makes of the lines, as high as the highest frame."""
    console = film.console
    console.export_text(clear=True)
    padded = [*lines, *([[Segment(" ")]] * (height - len(lines)))]
    console.print(SegmentLines(padded, new_lines=True))
    return console.export_svg(title="innkeeper", code_format=template, unique_id=f"f{number}")


async def make(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        film = await play(Path(folder))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(as_svg(film), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=DOCS / "images" / "demo.svg")
    asyncio.run(make(parser.parse_args().file))
