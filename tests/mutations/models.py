"""Mutants of what a model's name means, what its content is, and of the one strict loader."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

REFUSED = ("actors/test_checkpoints.py::test_a_network_that_is_not_whole_is_refused",)
ONCE = ("actors/test_checkpoints.py::test_a_model_is_checked_once_for_each_content",)
HELD = ("actors/test_checkpoints.py::test_a_scoring_actor_keeps_no_old_weights",)
NAMES = ("test_models.py",)

MUTANTS = (
    Mutant(
        "loader: missing tensors are left random",
        "actors/checkpoints.py",
        'if missing := sorted(info["missing_keys"]):',
        'if missing := sorted(info["missing_keys"])[:0]:',
        REFUSED,
    ),
    Mutant(
        "loader: tensors too many are left aside",
        "actors/checkpoints.py",
        'if unexpected := sorted(info["unexpected_keys"]):',
        'if unexpected := sorted(info["unexpected_keys"])[:0]:',
        REFUSED,
    ),
    Mutant(
        "loader: tensors of another shape are left random",
        "actors/checkpoints.py",
        'if mismatched := sorted(info["mismatched_keys"]):',
        'if mismatched := sorted(info["mismatched_keys"])[:0]:',
        REFUSED,
    ),
    Mutant(
        "loader: only one end of the values is looked at",
        "actors/checkpoints.py",
        "if not (torch.isfinite(low) and torch.isfinite(high)):",
        "if not torch.isfinite(high):",
        REFUSED,
    ),
    Mutant(
        "loader: a second head is left to the library",
        "actors/checkpoints.py",
        "if len(found) == 2 and",
        "if len(found) == 3 and",
        REFUSED,
    ),
    Mutant(
        "loader: a check outlives the content it was made on",
        "actors/checkpoints.py",
        "_checked(path, model_hash(Path(path)))",
        '_checked(path, "")',
        ONCE,
    ),
    Mutant(
        "scoring actor: old weights under a known path",
        "actors/scoring.py",
        "held is None or held[0].content != state.content",
        "held is None",
        HELD,
    ),
    Mutant(
        "weight files: a missing shard is passed over",
        "models.py",
        "if lacking := [name for name in names if name not in there]:",
        "if lacking := []:",
        REFUSED,
    ),
    Mutant("weight files: a truncated file is accepted", "models.py", "if size != want:", "if size > want:", REFUSED),
    Mutant("hub: resolved at every call", "models.py", "if (cache, model) not in _resolved:", "if True:", NAMES),
    Mutant(
        "hub: the pinned revision is ignored",
        "models.py",
        'return repository, revision or "main"',
        'return repository, "main"',
        NAMES,
    ),
    Mutant(
        "content: names alone",
        "provenance.py",
        "content = _large_hash(path) if path.stat().st_size > LARGE else file_hash(path)",
        'content = ""',
        NAMES,
    ),
    Mutant(
        "content: large files by size and time of writing",
        "provenance.py",
        "s.st_size, s.st_mtime_ns, s.st_ctime_ns)",
        "s.st_size, s.st_mtime_ns)",
        NAMES,
    ),
    Mutant(
        "tokenizer: the class that a folder states, of any family",
        "actors/checkpoints.py",
        'not in ("qwen3", "qwen3_moe")',
        'not in ("qwen2", "qwen3", "qwen3_moe")',
        ("actors/test_checkpoints.py",),
    ),
    Mutant(
        "tokenizer: whatever class a folder states",
        "actors/checkpoints.py",
        'said.get("tokenizer_class") == "TokenizersBackend"',
        'said.get("tokenizer_class") != ""',
        ("actors/test_checkpoints.py",),
    ),
)
