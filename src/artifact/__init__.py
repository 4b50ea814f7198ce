"""A reproducible artifact for training a small reasoning model on its own outputs.

Two methods share one on-policy loop: CORE (verify, then distil or contrast) and UOPD (weight distillation by the
teacher's semantic entropy). Importing this package is cheap: torch, Ray, vLLM and DeepSpeed load where they are used.
"""

__version__ = "0.1.0"
