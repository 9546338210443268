"""Order and cycles of a directed graph given as ids and pairs (source, target). Pure, without recursion."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

Pair = tuple[str, str]


def kahn_order(ids: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """The ids that no cycle holds back: roots in the given order, first in first out, neighbours in pair order.

    Nodes of a cycle, and those behind one, are not in the result.
    """
    after = successors(ids, pairs)
    waiting = dict.fromkeys(ids, 0)
    for _, target in pairs:
        waiting[target] += 1
    queue = deque(node for node in ids if waiting[node] == 0)
    order = []
    while queue:
        node = queue.popleft()
        order.append(node)
        for target in after[node]:
            waiting[target] -= 1
            if waiting[target] == 0:
                queue.append(target)
    return order


def cycles(ids: Sequence[str], pairs: Sequence[Pair]) -> list[list[str]]:
    """The cycles' members only, one list per knot, in the given order. A self-loop is a cycle of one.

    Kosaraju: number by finishing time, then collect against the arrows.
    """
    left = set(ids) - set(kahn_order(ids, pairs))
    inside = [pair for pair in pairs if pair[0] in left and pair[1] in left]
    members = [node for node in ids if node in left]
    backward = successors(members, [(target, source) for source, target in inside])
    position = {node: index for index, node in enumerate(members)}
    loops = {source for source, target in inside if source == target}
    found = []
    seen: set[str] = set()
    for node in reversed(_finishing(members, successors(members, inside))):
        knot = _reach(node, backward, seen)
        if len(knot) > 1 or (knot and knot[0] in loops):
            found.append(sorted(knot, key=position.__getitem__))
    return sorted(found, key=lambda knot: position[knot[0]])


def successors(ids: Iterable[str], pairs: Iterable[Pair]) -> dict[str, list[str]]:
    after: dict[str, list[str]] = {node: [] for node in ids}
    for source, target in pairs:
        after[source].append(target)
    return after


def _finishing(ids: Iterable[str], after: Mapping[str, Sequence[str]]) -> list[str]:
    """Ids in the order in which a depth-first walk leaves them."""
    seen: set[str] = set()
    finished: list[str] = []
    for root in ids:
        stack = [] if root in seen else [(root, iter(after[root]))]
        seen.add(root)
        while stack:
            node, rest = stack[-1]
            following = next((target for target in rest if target not in seen), None)
            if following is None:
                finished.append(node)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(after[following])))
    return finished


def _reach(root: str, after: Mapping[str, Sequence[str]], seen: set[str]) -> list[str]:
    if root in seen:
        return []
    seen.add(root)
    reached = [root]
    for node in reached:
        fresh = [target for target in dict.fromkeys(after[node]) if target not in seen]
        seen.update(fresh)
        reached += fresh
    return reached
