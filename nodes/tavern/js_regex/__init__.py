"""JavaScript's regular expressions, translated for the `regex` package, with time limits.

Where answers differ from a JavaScript engine:

- A group inside a loop keeps its text when a later round does not reach it: `(?:(a)|b)*` on `ab` gives group 1 `a`.
- A loop stops after a round that matched nothing, also where a lower count demands more alternatives: `(|x){0,2}`.
- With flags i and u, `\\P{Lu}` and its like do not ignore case. Script extensions are scripts.
- Half a character that a replacement leaves alone becomes U+FFFD.
"""

from innkeeper.nodes.tavern.js_regex.engine import engine

__all__ = ["engine"]
