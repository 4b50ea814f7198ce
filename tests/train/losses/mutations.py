"""Does the test suite notice a wrong loss? Each mutation below breaks one line of a copy of `artifact.train.losses`.

For every mutation the package and its tests are copied to a temporary directory, one piece of source text is replaced,
and the tests XX
    python tests/losses/mutations.py [--required]

where `--required` keeps to the mutations that the test suite itself runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies  # noqa: F401  # imported once for all forks, as are pytest and torch
import pytest
import torch  # noqa: F401

REPOSITORY = Path(__file__).resolve().parents[3]
_ignore = shutil.ignore_patterns
PASSED, FAILED = 0, 1  # exit codes of pytest; any other means that it could not run


@dataclass(frozen=True)
class Mutation:
    """Replace `old`, which must occur exactly once in `file`, by `new`; `tests` are the files expected to notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    required: bool = False


DIVERGENCE, PREFERENCE = ("test_divergence.py",), ("test_preference.py",)
MUTATIONS = (
    Mutation(
        "flip the direction of the KL",
        "divergence.py",
        'if kind == "forward_kl":',
        'kind = {"forward_kl": "reverse_kl", "reverse_kl": "forward_kl"}.get(kind, kind)\n    if kind == "forward_kl":',
        DIVERGENCE,
        required=True,
    ),
    Mutation(
        "swap student and teacher",
        "divergence.py",
        "loss = -_expectation(p_t, log_s)",
        "loss = -_expectation(log_s.exp(), log_t)",
        DIVERGENCE,
        required=True,
    ),
    Mutation(
        "clamp a truncated KL at 0",
        "divergence.py",
        "divergence = loss.detach() + _expectation(p_t, log_t)",
        "divergence = (loss.detach() + _expectation(p_t, log_t)).clamp(min=0)",
        DIVERGENCE,
    ),
    Mutation(
        "leave the teacher unnormalised",
        "divergence.py",
        "return logprobs_TK - log_mass",
        "return logprobs_TK",
        DIVERGENCE,
    ),
    Mutation(
        "swap the mixture of the JSD",
        "divergence.py",
        "log_t + math.log(beta), log_s + math.log1p(-beta)",
        "log_s + math.log(beta), log_t + math.log1p(-beta)",
        DIVERGENCE,
    ),
    Mutation(
        "drop the response mask",
        "reduction.py",
        ".masked_fill(~mask_T, 0.0)",
        "",
        ("test_reduction.py",),
        required=True,
    ),
    Mutation(
        "drop the response mask of a preference",
        "preference.py",
        "logprobs_T.masked_fill(~mask_T, 0.0)",
        "logprobs_T",
        PREFERENCE,
    ),
    Mutation(
        "divide by padded instead of masked lengths",
        "reduction.py",
        "mask_T.to(loss_T.dtype)",
        "(mask_T | True).to(loss_T.dtype)",
        ("test_reduction.py",),
    ),
    Mutation(
        "swap chosen and rejected",
        "preference.py",
        "_logistic(beta * (chosen_P - rejected_P)",
        "_logistic(beta * (rejected_P - chosen_P)",
        PREFERENCE,
        required=True,
    ),
    Mutation(
        "forget the reference",
        "preference.py",
        "policy_rejected_P - reference_rejected_P.detach()",
        "policy_rejected_P",
        PREFERENCE,
    ),
    Mutation(
        "normalise over the chunk, not the vocabulary",
        "lm_head.py",
        "lse = lse_TC.logsumexp(dim=1)",
        "lse = lse_TC.amax(dim=1)",
        ("test_lm_head.py",),
    ),
    Mutation(
        "forget the normaliser in the gradient", "lm_head.py", ".mul_(minus_total)", ".mul_(0.0)", ("test_lm_head.py",)
    ),
    Mutation(
        "forget the temperature in the gradient",
        "lm_head.py",
        "grad = grads[0] * ctx.scale",
        "grad = grads[0]",
        ("test_lm_head.py",),
    ),
    Mutation(
        "clip without regard to the sign of the advantage",
        "policy_gradient.py",
        "torch.minimum(ratio * advantage, clipped_ratio * advantage)",
        "clipped_ratio * advantage",
        ("test_policy_gradient.py",),
    ),
    Mutation(
        "flip the sign of the advantage",
        "policy_gradient.py",
        "loss = -torch.minimum",
        "loss = torch.minimum",
        ("test_policy_gradient.py",),
    ),
    Mutation(
        "allow alpha above 1 in the convex mix",
        "mix.py",
        "if alpha > 1.0:",
        "if alpha > 100.0:",
        ("test_small_parts.py",),
    ),
    Mutation(
        "let infinity pass the guard",
        "finite.py",
        "if bool(finite.all()):",
        "if not bool(tensor.isnan().any()):",
        ("test_small_parts.py",),
    ),
)


CONFTEST = """import artifact
from hypothesis import Phase, settings

assert artifact.__file__.startswith({root!r}), artifact.__file__
settings.register_profile("mutations", phases=[Phase.explicit, Phase.generate], database=None)  # do not shrink
settings.load_profile("mutations")
"""


class FirstFailure:
    """A pytest plugin that writes the node id of a failed test to `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.path.write_text(report.nodeid, encoding="utf-8")


def run_mutated(mutation: Mutation | None, tests: Iterable[str]) -> tuple[int, str]:
    """`tests` (files or node ids) on a copy of package and tests with `mutation` applied (None = unchanged).

    Returns pytest's exit code and the node id of the first test that failed, "" without one.
    """
    with tempfile.TemporaryDirectory(prefix="losses-mutation-") as scratch:
        root = Path(scratch)
        package = root / "src" / "artifact"
        shutil.copytree(
            REPOSITORY / "src" / "artifact" / "train" / "losses",
            package / "train" / "losses",
            ignore=_ignore("__pycache__"),
        )
        shutil.copy(REPOSITORY / "src" / "artifact" / "train" / "__init__.py", package / "train" / "__init__.py")
        for name in ("__init__.py", "errors.py"):
            shutil.copy(REPOSITORY / "src" / "artifact" / name, package / name)
        tests_copy = root / "tests"
        ignore = _ignore("mutations.py", "test_mutations.py", "__pycache__")
        shutil.copytree(REPOSITORY / "tests" / "train" / "losses", tests_copy, ignore=ignore)
        (tests_copy / "conftest.py").write_text(CONFTEST.format(root=str(root)), encoding="utf-8")
        if mutation is not None:
            path = package / "train" / "losses" / mutation.file
            text = path.read_text(encoding="utf-8")
            if text.count(mutation.old) != 1:
                raise ValueError(
                    f"{mutation.name}: {mutation.old!r} occurs {text.count(mutation.old)} times in {path.name}"
                )
            path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        code = _pytest_in_fork(root, [f"{tests_copy}/{t}" for t in sorted(set(tests))])
        found = root / "failed"
        return code, found.read_text(encoding="utf-8").removeprefix("tests/") if found.is_file() else ""


def _pytest_in_fork(root: Path, selected: list[str]) -> int:
    """pytest's exit code in a child that sees the package of `root`; negative when it was killed, after 300 s."""
    child = os.fork()
    if child == 0:
        code = -1
        try:
            signal.alarm(300)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os.chdir(root)
            os.environ |= {
                "PYTHONPATH": str(root / "src"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            }
            sys.path.insert(0, str(root / "src"))
            sys.dont_write_bytecode = True
            options = ["-q", "-x", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "--import-mode=importlib"]
            plugin = FirstFailure(root / "failed")
            code = int(pytest.main([*options, "-c", os.devnull, f"--rootdir={root}", *selected], [plugin]))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: list[str]) -> int:
    """Print one line a mutation; the exit code is the number of mutations that went unnoticed or could not be run."""
    if arguments not in ([], ["--required"]):
        print(f"unknown arguments {arguments}; the only one is --required")
        return 1
    mutations = [m for m in MUTATIONS if m.required or not arguments]
    bad, noticed = 0, set()
    for mutation in mutations:
        code, test = run_mutated(mutation, mutation.tests)
        verdict = {PASSED: "UNNOTICED", FAILED: "caught"}.get(code, f"could not run (pytest ended with {code})")
        bad += code != FAILED
        noticed |= {test} - {""}
        print(f"{verdict:>10}  {mutation.name}  {test}", flush=True)
    code, test = run_mutated(None, noticed)
    if code != PASSED:
        print(f"what notices a mutation must pass without it; pytest ended with {code} {test}")
        return bad + 1
    print(f"{len(mutations) - bad} of {len(mutations)} mutations caught")
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
