"""Several machines at `RAY_ADDRESS`: the code goes to them, and each must see the files that it is told of by path.

Ray's runtime environment carries this package to every node, so no node needs a copy of the project. What is large
stays on a file system that all share: results, into which the student's ranks write checkpoints and weights, and
models, which engines and teacher read. Python and the libraries are each node's own, as locked (`imported.py`
compares them).

Left out: starting nodes (`ray start`, or whatever the cluster has for it).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artifact.actors import imported
from artifact.actors.calls import call
from artifact.errors import ArtifactError
from artifact.files import discard
from artifact.paths import project_root, results_dir

LOOK_SECONDS = 120.0
"""How long a node may take to answer what it sees; the first time it fetches the code and starts a process."""


def shipped() -> dict[str, Any]:
    """Ray's runtime environment of this process's work: the package, and where project and results lie."""
    return {
        "py_modules": [str(imported.PACKAGE)],
        "excludes": ["__pycache__"],
        "env_vars": {"ARTIFACT_ROOT": str(project_root()), "ARTIFACT_RESULTS": str(results_dir())},
    }


def check_shared(folder: Path) -> None:
    """Raise ArtifactError where a node does not read what this process writes into `folder`, or has other libraries."""
    folder.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    path = folder / f".seen-by-all-nodes-{token}"
    path.write_text(token, encoding="utf-8")
    try:
        answers = _ask({str(path): token})
    finally:
        discard(path)
    require_seen(folder, {node: seen for node, (seen, _) in answers.items()}, "set ARTIFACT_RESULTS to one that is")
    for node, (_, made_of) in answers.items():
        if made_of != imported.mine():
            differ = sorted(set(made_of) ^ set(imported.mine()))
            raise ArtifactError(
                f"node {node} has other code or libraries than this process: {', '.join(differ[:6])}; install the lock "
                "file's versions on every node"
            )


def check_models(models: Sequence[str]) -> None:
    """Raise ArtifactError where a node does not see the folder of one of `models`."""
    for folder in models:
        answers = _ask({str(Path(folder) / "config.json"): None})
        seen = {node: found for node, (found, _) in answers.items()}
        require_seen(Path(folder), seen, "put models (HF_HUB_CACHE for those of the hub) where all nodes see them")


def require_seen(folder: Path, seen: dict[str, bool], remedy: str) -> None:
    """ArtifactError naming the nodes that do not see `folder`; `seen` is by their address."""
    if blind := sorted(node for node, found in seen.items() if not found):
        raise ArtifactError(
            f"{len(blind)} of {len(seen)} nodes do not see {folder} as this process does ({', '.join(blind[:4])}): it "
            f"must lie on a file system that all nodes share, under the same path; {remedy}"
        )


def nodes_of(actors: Mapping[str, Any], timeout_s: float) -> dict[str, str]:
    """The node that each of `actors`, by name, is on. Raises ActorTimeout past `timeout_s` seconds."""
    asked = [actor.__ray_call__.remote(own_node) for actor in actors.values()]
    return dict(zip(actors, call(asked, timeout_s, "asking actors for their nodes"), strict=True))


def own_node(actor: object) -> str:
    """Run in an actor: the node it is on."""
    import ray

    return _node(ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id())


def _node(address: str, identity: str) -> str:
    """How a node is called: its address, and the first letters of its id, for a machine may have several."""
    return f"{address} ({identity[:6]})"


def look(wanted: dict[str, str | None]) -> tuple[bool, list[str]]:
    """Run on a node: whether each path holds the text beside it (None: whether it is there), and what is installed."""

    def holds(path: str, text: str | None) -> bool:
        try:
            return Path(path).is_file() if text is None else Path(path).read_text(encoding="utf-8") == text
        except OSError:
            return False

    return all(holds(path, text) for path, text in wanted.items()), imported.mine()


def _ask(wanted: dict[str, str | None]) -> dict[str, tuple[bool, list[str]]]:
    """`look` on every node that is alive, by node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = [
        ray.remote(look)
        .options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False), max_retries=0
        )
        .remote(wanted)
        for node in nodes
    ]
    answers = call(asked, LOOK_SECONDS, "looking at the nodes of the cluster")
    names = [_node(node["NodeManagerAddress"], node["NodeID"]) for node in nodes]
    return dict(zip(names, answers, strict=True))
