"""Decoding of a large response, as in ``client.call``, against ``json.loads``."""

import json
from collections.abc import Iterator
from functools import partial

from benchmarks.contest import Bound, Comparison, Contest, timed
from benchmarks.placement import Placement
from moby_plugins.app.wire import decode

VOLUMES = 16_500
OURS, THEIRS = "decode", "json.loads"

COUNTING = (
    "What it does beyond parsing is the bound on memory: values are counted and nesting is "
    "measured, so that a few megabytes do not become gigabytes."
)


def decoding_contest(placement: Placement) -> Iterator[Contest]:
    """Yield a contest of decoding a list of volumes of 1.4 MB to plain JSON values."""
    volumes = [
        {
            "Name": f"volume-{number:06}",
            "Mountpoint": f"/mnt/volumes/volume-{number:06}",
            "Status": {},
        }
        for number in range(VOLUMES)
    ]
    body = json.dumps({"Volumes": volumes, "Err": ""}).encode()
    row = Comparison(
        f"decoding {len(body) / 1e6:.1f} MB", OURS, THEIRS, Bound(1.8), COUNTING, THEIRS
    )
    sides = {OURS: timed(partial(decode, body)), THEIRS: timed(partial(json.loads, body))}
    yield Contest(sides, (row,), 25, placement=placement)
