"""Makes `golden_semantic_entropy.json`: what two peer libraries say on random answer clusters.

Run it in a separate environment, never in the project's: uqlm pins NumPy < 2, and both libraries ask for far more than
the two functions need, hence `--no-deps`.

    python3.11 -m venv peers && peers/bin/pip install numpy==1.26.4 pillow "transformers>=4.50,<5"
    peers/bin/pip install --no-deps lm-polygraph==0.7.0 uqlm==0.6.7
    peers/bin/python tests/phase1/make_golden.py

Each case has token log-probabilities and a cluster id for N samples; recorded are
- lm-polygraph, `SemanticEntropy(class_probability_estimation="frequency")`: discrete semantic entropy;
- uqlm, `compute_response_probabilities` → `compute_cluster_probabilities` → `compute_semantic_entropy`: the entropy
  weighted by length-normalised probability, and the same with equal probabilities.
The package `__init__` files are bypassed: they import the libraries' models, of which nothing is used here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import platform
import sys
import types
from pathlib import Path

import numpy as np

SEED = 20240607
CASES = 36


def bypass_init(*packages: str) -> None:
    """Put an empty stand-in for each package's `__init__` (parents first), so that its modules import alone."""
    for name in packages:
        top, *rest = name.split(".")
        if not rest:
            root = importlib.util.find_spec(top)
            if root is None or root.submodule_search_locations is None:
                raise ImportError(f"{top} is not installed; see the head of this file")
            folder = Path(root.submodule_search_locations[0])
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*rest))]
        sys.modules[name] = package


def make_case(rng: np.random.Generator, index: int) -> dict:
    """N samples in up to N clusters; the scale of the token log-probabilities runs from sure to hardly possible."""
    n = int(rng.choice([2, 3, 4, 8, 8, 8, 16]))
    labels = rng.integers(0, rng.integers(1, n + 1), size=n)
    order = {label: c for c, label in enumerate(dict.fromkeys(labels.tolist()))}
    scale = [0.02, 0.3, 2.0, 12.0][index % 4]
    logprobs = [(-scale * rng.exponential(size=rng.integers(1, 9))).round(6).tolist() for _ in range(n)]
    return {"cluster_ids": [order[x] for x in labels.tolist()], "token_logprobs": logprobs}


def main() -> None:
    bypass_init("lm_polygraph", "lm_polygraph.estimators", "lm_polygraph.utils", "uqlm", "uqlm.nli")
    polygraph = importlib.import_module("lm_polygraph.estimators.semantic_entropy")
    uqlm = importlib.import_module("uqlm.nli.entropy_utils")
    discrete = polygraph.SemanticEntropy(class_probability_estimation="frequency")
    rng = np.random.default_rng(SEED)
    cases = []
    for index in range(CASES):
        case = make_case(rng, index)
        ids = case["cluster_ids"]
        members = [[n for n, c in enumerate(ids) if c == k] for k in range(max(ids) + 1)]
        classes = {"sample_to_class": [ids], "class_to_sample": [members]}
        stats = {"sample_texts": [[str(c) for c in ids]], "semantic_classes_entail": classes}
        tokens = [[{"logprob": x} for x in sample] for sample in case["token_logprobs"]]
        weighted, uniform = uqlm.compute_response_probabilities(tokens, num_responses=len(ids))
        probs = uqlm.compute_cluster_probabilities(weighted, members)
        counts = uqlm.compute_cluster_probabilities(uniform, members)
        case["lm_polygraph_frequency"] = float(discrete(stats)[0])
        case["uqlm_response_probabilities"] = [float(p) for p in weighted]
        case["uqlm_cluster_probabilities"] = [float(p) for p in probs]
        case["uqlm_semantic_entropy"] = float(uqlm.compute_semantic_entropy(probs))
        case["uqlm_discrete_entropy"] = float(uqlm.compute_semantic_entropy(counts))
        cases.append(case)
    versions = {name: importlib.metadata.version(name) for name in ("lm-polygraph", "uqlm", "numpy")}
    golden = {"made_by": "make_golden.py", "seed": SEED, "python": platform.python_version(), "versions": versions}
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = json.dumps(golden, indent=1)[:-2] + ',\n "cases": [\n' + lines + "\n]}\n"
    Path(__file__).with_name("golden_semantic_entropy.json").write_text(text, encoding="utf-8")
    print(f"{len(cases)} cases, {versions}")


if __name__ == "__main__":
    main()
