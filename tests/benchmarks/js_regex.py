"""JavaScript regexes: many patterns on one text, many replacements by one, and patterns that would never end.

Run it with `python -m tests.benchmarks.js_regex`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

from innkeeper.nodes.tavern.environment import PatternTimeout
from innkeeper.nodes.tavern.js_regex import engine

TEXT = "".join(f"The quick brown fox jumps over the lazy dog {number}. " for number in range(400))
HARD = (
    (r"(?:a|a)*c", "a" * 60 + "bc"),
    (r".*.*.*Q", "x" * 20_000 + "\nQ"),
    (r"(?:.|\s)+?x", "y \n" * 300_000),
    (r"(?:.|\s)+?X", ("y \n" * 300_000) + "X"),
)


def main() -> None:
    words = [f"word{number}" for number in range(10_000)]
    edges = [rf"\bword{number}\b|\bfoo{number}(?:x|y)?" for number in range(10_000)]
    print(f"text of {len(TEXT)} characters; peak memory before: {_megabytes():.0f} MB")
    print(f"calibration, 1,000,000 additions: {_timed(lambda: sum(range(1_000_000))) * 1000:.0f} ms")
    for name, patterns, flags in (("words", words, ""), ("words, i", words, "i"), ("alternatives with \\b", edges, "")):
        regexes = engine(total_s=600)
        compiled = _timed(lambda: [regexes.compile(pattern, flags) for pattern in patterns])  # noqa: B023
        first = _timed(lambda: [regexes.compile(pattern, flags).test(TEXT) for pattern in patterns])  # noqa: B023
        again = _timed(lambda: [regexes.compile(pattern, flags).test(TEXT) for pattern in patterns])  # noqa: B023
        print(f"10,000 patterns ({name}): read {compiled:.2f} s, first test {first:.2f} s, again {again:.2f} s")
    for text, kind in (("ab " * 1_000, "ASCII"), ("ab😀 " * 1_000, "astral")):
        pattern = engine().compile(r"(\w+)", "g")
        seconds = _timed(lambda: pattern.replace(text, lambda match: f"<{match.groups[1]}>"))  # noqa: B023
        print(f"1,000 replacements ({kind}): {seconds * 1000:.1f} ms")
    for source, text in HARD:
        print(f"{source} on {len(text)} characters: {_ending(source, text)}")
    print(f"peak memory after: {_megabytes():.0f} MB")


def _ending(source: str, text: str) -> str:
    start = time.perf_counter()
    try:
        ending = f"answered {engine().compile(source).test(text)}"
    except PatternTimeout:
        ending = "stopped"
    return f"{ending} after {time.perf_counter() - start:.3f} s"


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
