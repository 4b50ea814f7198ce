"""Teacher samples → answer clusters → semantic entropy → distillation weight (UOPD, Section 3.1 and 4.6).

`judge.py` decides whether two answers mean the same, `clustering.py` turns the verdicts into classes, `entropy.py` is
Eq. 4–6, `annotate.py` does all three for one problem, `weights.py` turns annotations into weights, and `validation.py`
measures whether the entropy predicts teacher errors.
"""
