"""Mutual entailment, the gate of its judge, and entropies of free text against closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from artifact.actors.checkpoints import load_classifier, load_tokenizer
from artifact.config import load
from artifact.errors import ArtifactError, BrokenModel, ConfigError, Mismatch
from artifact.phase1.annotate import annotate
from artifact.phase1.entailment import EntailmentJudge, Entails, by_meaning
from artifact.phase1.entropy import semantic_entropy
from artifact.phase1.judge import JudgeError, Pair
from artifact.phase1.judge_calibration import KnownPair, calibrate, require_usable
from artifact.phase1.nli import entailment_label, entails_by
from artifact.phase1.similarity import normalised_similarity_entropy, similarities, similarity_entropy, with_similarity
from artifact.phase1.validation import score_table
from artifact.records import Problem, Rollout, Status, Verdict
from artifact.studies.judging import make_judge
from artifact.tasks import get_task
from artifact.tasks.metrics import METRICS, Metric

SAME_WORDS = Metric("same words", lambda text, p: float(set(text.split()) == set(p.answer.split())))


def words(question: str, text: str) -> frozenset[str] | None:
    """What a text states: its words; nothing where it is a question mark."""
    return None if text == "?" else frozenset(text.split())


JUDGE = EntailmentJudge("words", by_meaning(words))


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [("a b", "b a", True), ("a b", "a", False), ("a", "a b", False), ("a", "b", False), ("a", "?", None)],
)
def test_the_same_is_what_entails_and_is_entailed(left: str, right: str, same: bool | None) -> None:
    assert JUDGE.judge([(left, right)], ["q"])[0].equivalent is same


def test_what_states_more_entails_what_states_less() -> None:
    pairs = [("a b", "a"), ("a", "a b"), ("a", "?")]
    assert by_meaning(words)(pairs, ["q"] * 3) == [True, False, None]


@pytest.mark.parametrize(
    ("there", "back", "same"),
    [(True, True, True), (True, None, None), (None, None, None), (False, None, False), (None, False, False)],
)
def test_both_directions_are_asked_and_one_no_is_a_no(there: bool | None, back: bool | None, same: bool | None) -> None:
    asked: list[tuple[list[Pair], list[str]]] = []

    def entails(pairs: Sequence[Pair], questions: Sequence[str]) -> list[bool | None]:
        asked.append((list(pairs), list(questions)))
        return [there, back]

    (verdict,) = EntailmentJudge("two", entails).judge([("a", "b")], ["why?"])
    assert asked == [([("a", "b"), ("b", "a")], ["why?", "why?"])] and verdict.equivalent is same


def test_an_answer_means_what_its_question_makes_of_it() -> None:
    judge = EntailmentJudge("context", by_meaning(lambda q, text: frozenset(text.lower() if q == "loose" else text)))
    assert [j.equivalent for j in judge.judge([("AB", "ab")] * 2, ["loose", "strict"])] == [True, False]


# --- the gate --------------------------------------------------------------------------------------------------------


def test_the_judge_of_the_text_world_is_right_on_pairs_of_known_relation() -> None:
    judge, said = make_judge(load("tiny", {"annotation.clustering": "meaning", "task.name": "tinytext"}))
    assert (judge.name, said["usable"], said["true_merge"], said["false_merge"]) == ("meaning", True, 1.0, 0.0)
    pairs = [KnownPair(*p) for p in get_task("tinytext").known_pairs()]  # type: ignore[attr-defined]
    report = calibrate(judge, pairs)
    assert {k.kind: (k.equal_merged, k.different_merged) for k in report.kinds} == dict.fromkeys(
        ("translation", "summary", "instruction"), (20, 0)
    )


@pytest.mark.parametrize(
    ("judge", "fault"),
    [
        (
            EntailmentJudge("yes", lambda pairs, questions: [True] * len(pairs)),
            "merges 100.0 % .* of the pairs that differ",
        ),
        (EntailmentJudge("no", lambda pairs, questions: [False] * len(pairs)), "merges 0.0 % .* that mean the same"),
        (EntailmentJudge("dumb", lambda pairs, questions: [None] * len(pairs)), r"100.0 % .* undecided"),
    ],
    ids=["yes", "no", "dumb"],
)
def test_a_wrong_judge_is_stopped_with_its_rates(judge: EntailmentJudge, fault: str) -> None:
    pairs = [KnownPair(*p) for p in get_task("tinytext").known_pairs()]  # type: ignore[attr-defined]
    with pytest.raises(JudgeError, match=fault):
        require_usable(calibrate(judge, pairs))


def test_a_task_that_says_no_meaning_is_told() -> None:
    with pytest.raises(ConfigError, match="'tinymath' does not: set it to symbolic"):
        make_judge(load("tiny", {"annotation.clustering": "meaning"}))


# --- entropies -------------------------------------------------------------------------------------------------------

LOGPROBS = [-0.1, -0.5, -0.2, -1.0]
CLASSES = [0, 1, 0, 2]


def test_similarity_entropy_has_its_closed_forms() -> None:
    one_class = np.equal.outer(CLASSES, CLASSES).astype(float)
    assert similarity_entropy(LOGPROBS, one_class) == pytest.approx(semantic_entropy(LOGPROBS, CLASSES), abs=1e-12)
    assert similarity_entropy(LOGPROBS, np.eye(4)) == pytest.approx(semantic_entropy(LOGPROBS, range(4)), abs=1e-12)
    assert similarity_entropy(LOGPROBS, np.ones((4, 4))) == 0.0
    half = [[1.0, 0.5], [0.5, 1.0]]
    assert similarity_entropy([0.0, 0.0], half) == pytest.approx(math.log(4 / 3), abs=1e-12)


@pytest.mark.parametrize(
    "wrong", [[[1.0, 0.2], [0.3, 1.0]], [[0.9, 0.2], [0.2, 1.0]], [[1.0, 1.2], [1.2, 1.0]], [[1.0]]]
)
def test_what_is_no_similarity_is_refused(wrong: list[list[float]]) -> None:
    with pytest.raises(ArtifactError, match="similarities"):
        similarity_entropy([0.0, 0.0], wrong)


def test_similarities_are_the_mean_of_both_directions() -> None:
    texts = ["the cat saw a dog", "a dog saw the big cat", None, "the cat saw a dog"]
    found = similarities(texts, METRICS["rouge2"])
    there, back = (
        METRICS["rouge2"].score(a, Problem("p", "", b, None, "", ""))
        for a, b in ((texts[0], texts[1]), (texts[1], texts[0]))
    )
    assert found[0, 1] == found[1, 0] == (there + back) / 2
    assert found[0, 3] == 1.0 and found[2].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_the_three_entropies_stand_beside_one_another() -> None:
    problem = Problem("p", "q", "a b", None, "t", "easy")
    texts = ["a b", "b a", "c", "a b"]
    rollouts = [
        Rollout(
            "p",
            i,
            (1,),
            (2, 3),
            (x, x),
            text,
            "stop",
            -1,
            Verdict(Status.CORRECT if "a" in text else Status.WRONG, text),
        )
        for i, (text, x) in enumerate(zip(texts, LOGPROBS, strict=True))
    ]
    note = annotate(problem, rollouts, JUDGE)
    assert note.cluster_ids == (0, 0, 1, 0) and note.majority_correct == 1
    assert note.entropy == pytest.approx(semantic_entropy(LOGPROBS, [0, 0, 1, 0]))
    assert note.answer_string_entropy == pytest.approx(semantic_entropy(LOGPROBS, [0, 1, 2, 0]))
    assert normalised_similarity_entropy(note, SAME_WORDS) == pytest.approx(note.normalised, abs=1e-12)
    table = with_similarity(score_table([note]), [note], lambda name: SAME_WORDS)
    assert table["similarity_entropy"].tolist() == [normalised_similarity_entropy(note, SAME_WORDS)]


def test_likeness_is_the_mean_of_the_two_directions() -> None:
    """Of a reference of two words a text has one, 1/2; of a reference of one word a text has it, 1."""
    recall = Metric("recall", lambda text, p: len(words("", text) & words("", p.answer)) / len(words("", p.answer)))  # type: ignore[operator,arg-type]
    assert similarities(["a b", "a"], recall)[0, 1] == 0.75


# --- a cross-encoder --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights and the labels of natural language inference."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("nli")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    ids = {word: number for number, word in enumerate(words)}
    BertTokenizerFast(vocab=ids, model_max_length=24).save_pretrained(folder)
    torch.manual_seed(6)
    labels = dict(enumerate(("contradiction", "ENTAILMENT", "neutral")))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=1.0,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def toy(folder: Path) -> Entails:
    return entails_by(load_classifier(str(folder)), load_tokenizer(str(folder)), "toy")


def test_a_cross_encoder_says_what_the_librarys_own_pipeline_says(classifier: Path) -> None:
    from transformers import pipeline

    said = ["a b", "b a", "c d e", "h", "a a a a", "f g"]
    pairs = [(left, right) for left in said for right in said]
    found = toy(classifier)(pairs, ["e f"] * len(pairs))
    asked = [{"text": f"e f {left}", "text_pair": f"e f {right}"} for left, right in pairs]
    peer = [answer["label"] == "ENTAILMENT" for answer in pipeline("text-classification", str(classifier))(asked)]
    assert found == peer and 0 < sum(peer) < len(peer)


def test_a_pair_that_is_too_long_is_undecided(classifier: Path) -> None:
    short, long = ("a", "b"), ("a " * 30, "b")
    assert [x is None for x in toy(classifier)([short, long], ["", ""])] == [False, True]
    (verdict,) = EntailmentJudge("toy", toy(classifier)).judge([long], [""])
    assert verdict.equivalent is None


def test_a_model_that_is_no_judge_of_inference_is_refused(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="the labels positive, negative: not one of them is 'entailment'"):
        entailment_label({0: "positive", 1: "negative"}, "toy")
    with pytest.raises(BrokenModel, match=r"config\.json"):
        toy(tmp_path)
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((classifier / file).read_bytes())
    with pytest.raises(BrokenModel, match="no sequence classifier can be read from it"):
        toy(tmp_path)


def test_a_cross_encoder_must_pass_the_pairs_of_the_task(classifier: Path) -> None:
    changes = {"annotation.clustering": "nli", "models.judge": str(classifier)}
    with pytest.raises(JudgeError, match=f"judge '{classifier}' is not usable"):
        make_judge(load("tiny-text", changes))
    judge, report = make_judge(load("tiny-text", changes | {"annotation.accept_poor_judge": True}))
    assert judge.name == report["name"] == str(classifier) and report["usable"] is False and report["faults"]
    with pytest.raises(ConfigError, match=r"annotation\.clustering = nli needs a judge model"):
        make_judge(load("tiny-text", {"annotation.clustering": "nli"}))
