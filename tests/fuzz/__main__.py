"""Feed everything that reads what others send: `python -m tests.fuzz --inputs 1000000 --seed 1`.

One seed gives the same inputs to each target. What breaks is saved, with the story of it; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from temporalio.client import Client

from tests.conftest import start_server
from tests.fuzz.campaign import Campaign, Target, peak_bytes, resident_bytes
from tests.fuzz.files import document_target, file_targets
from tests.fuzz.frames import to_gateway_target, to_worker_target
from tests.fuzz.gateway import client_target, gateway_under_test, http_target, raw_socket, socket_target
from tests.fuzz.mutation import Mutator

WARM_UP = 0.03
"""Share of the inputs after which memory is measured first."""
ROUNDS = 10
"""Targets take turns: what breaks one of them shows early."""
MAX_GROWTH = 1.2
MB = 1_000_000


@contextlib.asynccontextmanager
async def all_targets(seed: int, temporal: Client, folder: Path) -> AsyncIterator[list[Target]]:
    """Every target, each with a row of random numbers of its own."""

    def mutator(number: int) -> Mutator:
        return Mutator(random.Random(f"{seed}-{number}"))

    async with gateway_under_test(folder / "data", temporal) as gateway, raw_socket(gateway) as raw:
        yield [
            to_worker_target(mutator(1)),
            to_gateway_target(mutator(2), folder),
            client_target(mutator(3), gateway),
            document_target(mutator(4), folder / "data"),
            *file_targets(mutator(5), folder / "library"),
            http_target(mutator(6), gateway),
            socket_target(mutator(7), raw),
        ]


def split(targets: Sequence[Target], inputs: int) -> dict[str, int]:
    """How many inputs each target gets."""
    whole = sum(target.weight for target in targets)
    return {target.name: round(inputs * target.weight / whole) for target in targets}


async def run(campaign: Campaign, targets: Sequence[Target], inputs: int) -> tuple[int, int]:
    """Feed all targets. Gives resident bytes after the warm-up and at the end."""
    shares = split(targets, inputs)
    print("split: " + ", ".join(f"{name} {count}" for name, count in shares.items()), flush=True)
    await _feed_up_to(WARM_UP, campaign, targets, shares)
    warm = resident_bytes()
    print(f"resident after the warm-up: {warm / MB:.0f} MB", flush=True)
    for number in range(1, ROUNDS + 1):
        await _feed_up_to(number / ROUNDS, campaign, targets, shares)
        print(f"{campaign.inputs} inputs: {campaign.crashes} crashes, {campaign.hangs} hangs", flush=True)
    await asyncio.sleep(1)  # connections and tasks that are about to end
    return warm, resident_bytes()


async def _feed_up_to(part: float, campaign: Campaign, targets: Sequence[Target], shares: Mapping[str, int]) -> None:
    """Feed each target until it has had this part of its share."""
    for target in targets:
        before = campaign.tallies[target.name].inputs if target.name in campaign.tallies else 0
        await campaign.run(target, max(0, round(shares[target.name] * part) - before))


async def main(inputs: int, seed: int, out: Path) -> int:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Campaign(out) as campaign:
        async with await start_server() as env, all_targets(seed, env.client, Path(folder)) as targets:
            warm, final = await run(campaign, targets, inputs)
    seconds = time.perf_counter() - began
    print(
        f"{campaign.inputs} inputs in {seconds:.0f} s ({campaign.inputs / seconds:.0f}/s), seed {seed}: "
        f"{campaign.crashes} crashes, {campaign.hangs} hangs; "
        f"resident {warm / MB:.0f} MB warm, {peak_bytes() / MB:.0f} MB peak, {final / MB:.0f} MB at the end"
    )
    for name, tally in campaign.tallies.items():
        print(f"{name:18}{tally.inputs:9} inputs{tally.rate:8.0f}/s{sum(tally.crashes.values()):6} crashes")
        for kind, count in tally.crashes.most_common():
            print(f"  {count} times {kind}")
    if has_grown := final > warm * MAX_GROWTH:
        print(f"memory has grown by more than {MAX_GROWTH - 1:.0%}")
    if campaign.crashes or campaign.hangs:
        print(f"what broke is saved in {out}")
    return 1 if campaign.crashes or campaign.hangs or has_grown else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(".fuzz"), help="folder for inputs that broke something")
    return parser.parse_args()


if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())  # not on the screen: defects become crashes here
    given = arguments()
    sys.exit(asyncio.run(main(given.inputs, given.seed, given.out)))
