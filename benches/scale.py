#!/usr/bin/env python3
"""Plans a run over many photos: time, machines, storage, and what failures cost. Standard library only.

    python3 benches/scale.py --photos 1e9 --machines 200 --cores 32

Every assumption is an option; its default is measured (benches/README.md) or stated as a guess in --help. Shards are given
to machines as they become free; a machine that fails loses the photos that its journal had not yet written, and its shard
goes on elsewhere after a wait. The same seed gives the same figures.
"""

import argparse
import heapq
import json
import random


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", type=float, default=1e6, help="how many [1e6]")
    add("--machines", type=int, default=8, help="machines at once [8]")
    add("--cores", type=int, default=32, help="cores of a machine [32]")
    add("--milliseconds", type=float, default=141, help="wall time of a photo on two cores, ViT-B/16, measured [141]")
    add("--efficiency", type=float, default=0.8, help="share of a linear speedup over cores, a guess [0.8]")
    add("--photo-bytes", type=float, default=500e3, help="bytes of a photo as stored, a guess [500e3]")
    add("--record-bytes", type=float, default=2700, help="JSON of a photo with two prompts, measured [2700]")
    add("--map-bytes", type=float, default=912, help=".npy of a grid of 14 x 14, by its format [912]")
    add("--prompts", type=int, default=2, help="prompts whose maps are kept [2]")
    add("--keep-maps", action="store_true", help="keep a map for each prompt; without it, records alone")
    add("--network", type=float, default=1e9, help="bytes a second from storage, all machines together, a guess [1e9]")
    add("--shard", type=float, default=50e3, help="photos of a shard [50e3]")
    add("--hours-between-failures", type=float, default=500, help="of one machine, a guess [500]")
    add("--restart", type=float, default=300, help="seconds until a shard goes on elsewhere, a guess [300]")
    add("--start", type=float, default=2, help="seconds to load a checkpoint for a shard [2]")
    add("--price", type=float, default=0.04, help="price of a core and hour, a guess [0.04]")
    add("--seed", type=int, default=1, help="of the failures [1]")
    add("--json", action="store_true", help="print figures as JSON")
    options = parser.parse_args(arguments)
    for name in ("photos", "machines", "cores", "milliseconds", "efficiency", "network", "shard", "hours_between_failures"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name.replace('_', '-')}: expected a number above 0, found {getattr(options, name)}")
    if options.efficiency > 1:
        parser.error(f"--efficiency: expected at most 1, found {options.efficiency}")
    if options.photos / options.shard > 1e6:
        parser.error("--shard: expected at most a million shards")
    return options


def rate(options):
    """Photos a second: of one machine by its cores, and of one machine with all others at the storage."""
    by_cores = 1000 / options.milliseconds * max(options.cores / 2 * options.efficiency, 0.5)
    by_network = options.network / options.photo_bytes / options.machines
    return by_cores, by_network


def simulate(options, photos_a_second):
    """Seconds until the last shard is done, seconds that machines worked, and failures."""
    chance = random.Random(options.seed)
    left = int(-(-options.photos // options.shard))
    last = options.photos - (left - 1) * options.shard
    free = [(0.0, machine) for machine in range(min(options.machines, left))]
    heapq.heapify(free)
    worked = failures = end = 0
    between = options.hours_between_failures * 3600
    while left:
        left -= 1
        begin, machine = heapq.heappop(free)
        work = (last if left == 0 else options.shard) / photos_a_second
        time = begin + options.start
        # What the journal has is kept, so that a failure costs the wait and another start.
        while (until := chance.expovariate(1 / between)) < work:
            work -= until
            time += until + options.restart + options.start
            failures += 1
        time += work
        worked += time - begin
        end = max(end, time)
        heapq.heappush(free, (time, machine))
    return end, worked, failures


def plan(options):
    by_cores, by_network = rate(options)
    end, worked, failures = simulate(options, min(by_cores, by_network))
    result = options.record_bytes + (options.map_bytes * options.prompts if options.keep_maps else 0)
    files = options.photos * options.prompts if options.keep_maps else -(-options.photos // options.shard)
    return {
        "photos_per_second_and_machine": round(min(by_cores, by_network), 2),
        "limited_by": "cores" if by_cores <= by_network else "storage's network",
        "hours": round(end / 3600, 2),
        "core_hours": round(worked * options.cores / 3600, 1),
        "price": round(worked * options.cores / 3600 * options.price, 2),
        "failures": failures,
        "shards": int(-(-options.photos // options.shard)),
        "read_terabytes": round(options.photos * options.photo_bytes / 1e12, 3),
        "written_terabytes": round(options.photos * result / 1e12, 4),
        "result_files": int(files),
    }


def main():
    options = parse()
    figures = plan(options)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):32}{value:,}" if not isinstance(value, str) else f"{name.replace('_', ' '):32}{value}")


if __name__ == "__main__":
    main()
