"""Every claim of the papers judged on what is stored: `artifact check-claims`.

A claim is judged at the tiers it names, from the outputs of that tier alone; its mechanism likewise. Nothing is run.
What was not made is NOT RUN, with the reason and with what `artifact plan` says it would cost. A FAIL is a finding;
what is an error is evidence that cannot be trusted: an output that is not as it was saved, a run of another tier behind
it, a row that is not there, a name that no notebook makes.
Left out: the rules (`report/claim_rules.py`), the tables of the claims (`report/claims_page.py`), and whether page and
LaTeX still say what is stored (`book/claims.py`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from artifact.config import Config, load, load_tier, tier_names
from artifact.errors import ConfigError
from artifact.files import DamagedFile
from artifact.paths import project_root, results_dir
from artifact.report import stored
from artifact.report.claim_rules import NOT_RUN, BrokenEvidence, NoProblems, NotMade, judge
from artifact.report.claims import DRAFTS, Cells, Claim, Rule, cells_of, load_claims
from artifact.report.claims_page import CLAIM, DRAFT, MECHANISM, Judgement
from artifact.studies import store
from artifact.studies.plan import studies_of
from artifact.studies.study import load_study

BROKEN = "BROKEN"
"""In place of a verdict: the evidence cannot be trusted."""

PHASE_ONE = ("U-F3", "U-F4", "U-D1")
"""Outputs for which phase 1 is run and nothing trained."""

OUTPUTS = re.compile(r'"([a-z0-9][a-z0-9_]*)"')
"""A name in the source of a notebook."""


@dataclass(frozen=True)
class Checked:
    """All judgements of a tier, and what is wrong with its outputs besides."""

    tier: str
    judgements: tuple[Judgement, ...]
    damaged: tuple[str, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether some evidence cannot be trusted."""
        return bool(self.damaged) or any(j.verdict == BROKEN for j in self.judgements)


def check_claims(tier: str, only: str | None = None) -> Checked:
    """Judge the claims at `tier`, or the one called `only` (ConfigError where there is none)."""
    claims = load_claims()
    if only is not None and only not in (ids := [c.id for c in claims]):
        near = difflib.get_close_matches(only, ids, n=1)
        raise ConfigError(f"no claim {only!r} in paper/claims.yml" + (f"; did you mean {near[0]!r}?" if near else ""))
    judged = [j for claim in claims if only in (None, claim.id) for j in judgements(claim, tier)]
    return Checked(tier, tuple(judged), tuple(damaged(tier)) if only is None else ())


def judgements(claim: Claim, tier: str) -> Iterator[Judgement]:
    """The claim itself and its mechanisms, each judged at `tier` or NOT RUN."""
    for number, (says, tiers, test) in enumerate(claim.forms()):
        yield Judgement(
            id=claim.id,
            paper=claim.paper,
            where=claim.where,
            kind=claim.kind,
            output=claim.output,
            part=MECHANISM if number else DRAFT if DRAFTS in tiers else CLAIM,
            says=says,
            evidence=tuple(dict.fromkeys(f"{c.kind} {c.name}" for c in cells_of(test))),
            **_verdict(claim, tiers, test, tier),
        )


def _verdict(claim: Claim, tiers: Sequence[str], test: Rule, tier: str) -> dict[str, Any]:
    if DRAFTS in tiers:
        found = judge(test, tier)
        return {"tier": DRAFTS, "verdict": found.verdict, "numbers": found.numbers}
    where = tier if tier in tiers else tiers[0]
    try:
        for cells in cells_of(test):
            _known(cells)
        if where != tier:
            return _not_run(f"needs tier {where}", claim, where)
        found = judge(test, tier)
        for key in found.keys:
            _of_tier(key, tier)
    except NotMade as err:
        return _not_run(_why(err.cells, tier), claim, where)
    except NoProblems as err:
        return {"tier": where, "verdict": NOT_RUN, "reason": str(err)}
    except (BrokenEvidence, stored.DamagedOutput, DamagedFile) as err:
        return {"tier": where, "verdict": BROKEN, "reason": str(err)}
    told = {"numbers": found.numbers, "n": found.n, "seeds": found.seeds, "keys": found.keys}
    return {"tier": where, "verdict": found.verdict, **told}


def _not_run(reason: str, claim: Claim, tier: str) -> dict[str, Any]:
    return {"tier": tier, "verdict": NOT_RUN, "reason": reason, "cost": cost(claim.output, tier)}


def _known(cells: Cells) -> None:
    """Refuse a name that no notebook makes: it would be NOT RUN for ever, and look like a matter of time."""
    names = made_by()
    if cells.name in names or cells.awaits:
        return
    near = difflib.get_close_matches(cells.name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "say in `awaits` why, if nothing makes it yet"
    raise BrokenEvidence(f"no notebook makes a {cells.kind} {cells.name!r}; {hint}")


def made_by() -> dict[str, str]:
    """Name of an output → the notebook whose source names it."""
    folder = project_root() / "notebooks"
    state = tuple((str(p), p.stat().st_mtime_ns) for p in sorted(folder.glob("[0-9][0-9]_*.ipynb")))
    return _made_by(state)


@lru_cache(maxsize=4)
def _made_by(state: tuple[tuple[str, int], ...]) -> dict[str, str]:
    import nbformat

    names: dict[str, str] = {}
    for path, _ in state:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                names |= {name: Path(path).stem for name in OUTPUTS.findall(cell.source) if name not in names}
    return names


def _why(cells: Cells, tier: str) -> str:
    """Why an output is not there: the notebook that makes it was not run, or there is none yet."""
    notebook = made_by().get(cells.name)
    if notebook is None:
        return cells.awaits
    return f"{cells.kind} {cells.name} was not made; `./run_all.sh --tier {tier} --only {notebook[:2]}` makes it"


def _of_tier(key: str, tier: str) -> None:
    """Refuse evidence of a run that is stored here and belongs to another tier, or is not as it was stored."""
    for manifest in results_dir().glob(f"*/{key}/{store.MANIFEST}"):
        of = store.sealed(manifest).get("tier")
        if of in tier_names() and load_tier(of).base != load_tier(tier).base:
            raise BrokenEvidence(f"{manifest.parent} is of tier {of}, and stands behind a number of tier {tier}")


@lru_cache(maxsize=64)
def cost(output: str, tier: str) -> str:
    """What `artifact plan` would say of the studies behind an output, as far as their settings alone tell it.

    Runs, the machine, and an upper bound of the tokens sampled in training; no data is read and nothing is fetched.
    """
    try:
        studies = studies_of(output, tier)
    except ConfigError:
        if not output.startswith(PHASE_ONE):
            return "no study feeds it, so `artifact plan` counts no runs for it"
        phase = load(tier).annotation
        each = f"{phase.draw or phase.samples} samples and a greedy answer of at most {phase.max_new_tokens:,} tokens"
        return f"phase 1 of `artifact plan --tier {tier}`: {each} a prompt"
    try:
        configs = [config for study in studies for _, config in load_study(study).runs(tier)]
    except ConfigError as err:
        return f"`artifact plan --tier {tier} --output {output}` cannot say: {str(err).splitlines()[0]}"
    by_episode = sum(c.train.episodes is not None for c in configs)
    tokens = sum(_training_tokens(c) for c in configs if c.train.episodes is None)
    machine = {c.cluster.gpus for c in configs if c.cluster.device == "cuda"}
    where = f" on {max(machine)} GPU{'s' * (max(machine) > 1)}" if machine else " on a processor"
    upper = f", at most {tokens:,} tokens sampled in training" if tokens else ""
    rest = f", {by_episode} of them over whole episodes of the data" if by_episode else ""
    return f"`artifact plan --tier {tier} --output {output}`: {len(configs)} runs{where}{upper}{rest}"


def _training_tokens(config: Config) -> int:
    samples = config.sampling.samples_per_prompt if config.make_method().needs.rollouts else 0
    return config.train.steps * config.train.prompts_per_step * samples * config.sampling.max_new_tokens


def damaged(tier: str) -> Iterator[str]:
    """What is wrong with any output of `tier`, used as evidence or not."""
    for kind, stem in stored.stored(tier):
        for wrong in stored.faults(stem):
            yield f"{kind} {stem.name}: {wrong}"
