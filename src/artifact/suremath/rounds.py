"""The rounds of evolution: who is asked for what, and what counts as a parent of the next round.

Round r evolves every seed whose difficulty has at least r rounds. Its parent is the latest usable problem of its chain,
which is the output of the round before unless that failed. A compose request gets a clean seed of another family (or
at least of another root) as second parent. Proposals are stored in shards of a fixed size; a shard that is there is
not made again, and what a request asks depends on the stored shards only, so an interrupted build goes on exactly.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from tqdm import tqdm

from artifact.records import RecordError, read_parquet, write_parquet
from artifact.suremath.generator import PROPOSED, Generator, ProposalRequest, as_evolved, evolve_checked
from artifact.suremath.lineage import Evolved
from artifact.suremath.settings import SureMathSettings
from artifact.suremath.strategies import choose_strategy

Usable = Callable[[Evolved, Sequence[Evolved]], bool]
"""(item, its parents) → whether it may be a parent of the next round."""


def stable_seed(*parts: object) -> int:
    """A 31-bit seed from anything that names the draw."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def plan_round(
    settings: SureMathSettings, round_: int, seeds: Sequence[Evolved], latest: dict[str, Evolved]
) -> list[ProposalRequest]:
    """The requests of a round, in the order of the seeds; `latest` is the usable head of each chain by root id."""
    families: dict[str, list[Evolved]] = {}
    for s in seeds:
        families.setdefault(str(s.meta.get("family", s.id)), []).append(s)
    requests = []
    for root in seeds:
        if settings.evolution.rounds[root.seed_difficulty] < round_:  # type: ignore[index]
            continue
        parent = latest[root.id]
        previous = parent.strategy if parent.round else None
        strategy = choose_strategy(
            settings.evolution, root.seed_difficulty, previous, seed=settings.seed, root_id=root.id, round_=round_
        )
        item_id = f"{root.id}-r{round_}"
        parents: tuple[Evolved, ...] = (parent,)
        if strategy == "compose" and len(seeds) > 1:
            parents = (parent, _partner(settings.seed, item_id, parent, root, families))
        requests.append(
            ProposalRequest(item_id, parents, strategy, round_, stable_seed(settings.seed, "evolve", item_id))
        )
    return requests


def _partner(seed: int, item_id: str, parent: Evolved, root: Evolved, families: dict[str, list[Evolved]]) -> Evolved:
    """A seed of another family than `parent`; of the same one, but another root, where there is no other."""
    rng = Random(f"{seed}/partner/{item_id}")
    own = str(parent.meta.get("family", root.id))
    others = [name for name in families if name != own]
    pool = families[rng.choice(others)] if others else [s for s in families[own] if s.id != root.id]
    return rng.choice(pool)


def evolve_rounds(
    settings: SureMathSettings,
    generator: Generator,
    seeds: Sequence[Evolved],
    folder: Path,
    usable: Usable,
    progress: bool,
) -> list[Evolved]:
    """All proposals of all rounds, failed ones too (their outcome stands in `meta`), in order of round and seed.

    Raises RecordError where a stored shard does not hold what its round asks for: the folder belongs to another build.
    """
    latest = {s.id: s for s in seeds}
    made: list[Evolved] = []
    rounds: dict[str, int] = {str(difficulty): n for difficulty, n in settings.evolution.rounds.items()}
    total = sum(rounds[s.seed_difficulty] for s in seeds)
    quiet = not (progress and sys.stderr.isatty())
    bar = tqdm(total=total, desc=f"evolve ({generator.name})", unit="problem", disable=quiet, leave=False)
    for round_ in range(1, max(rounds.values()) + 1):
        requests = plan_round(settings, round_, seeds, latest)
        size = settings.generator.batch
        for start in range(0, len(requests), size):
            batch = requests[start : start + size]
            items = _shard(folder / f"round-{round_}" / f"{start // size:05d}.parquet", generator, batch)
            for request, item in zip(batch, items, strict=True):
                if item.meta["outcome"] == PROPOSED and usable(item, request.parents):
                    latest[item.root_id] = item
            made += items
            bar.update(len(items))
    bar.close()
    return made


def _shard(path: Path, generator: Generator, batch: Sequence[ProposalRequest]) -> list[Evolved]:
    if not path.exists():
        proposals = evolve_checked(generator, batch)
        items = [as_evolved(r, p, generator.name) for r, p in zip(batch, proposals, strict=True)]
        write_parquet(path, items, Evolved)
    stored = read_parquet(path, Evolved)
    asked = [(r.id, r.strategy, tuple(p.id for p in r.parents)) for r in batch]
    if [(i.id, i.strategy, i.parent_ids) for i in stored] != asked:
        raise RecordError(
            f"{path} does not hold the {len(batch)} proposals that this round asks for: it is of another build; delete "
            "the working folder and build again"
        )
    return stored
