"""Clustering: normalisation, the rule for unparsed answers, closure, and the number of judgements asked."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifact.phase1.clustering import cluster_answers, cluster_many
from artifact.phase1.judge import EquivalenceJudge, ExactJudge, Judgement, SymbolicJudge
from artifact.tasks.answer_text import untypeset


class WithoutKeys(SymbolicJudge):
    """The same rules, every pair asked."""

    by_key = False


class GraphJudge(EquivalenceJudge):
    """Says yes on a given set of pairs (not necessarily transitive), and remembers every batch it was asked."""

    name = "graph"

    def __init__(self, edges):
        super().__init__()
        self.edges = {frozenset(e) for e in edges}
        self.batches = []

    def decide(self, pairs):
        self.batches.append(list(pairs))
        return [Judgement(a, b, frozenset((a, b)) in self.edges, self.name) for a, b in pairs]


def partition(ids):
    """The classes as a set of sets of positions."""
    return {frozenset(i for i, c in enumerate(ids) if c == k) for k in set(ids)}


def components(answers, edges):
    """Connected components by repeated relaxation: an oracle that shares no code with union-find."""
    label = list(range(len(answers)))
    links = {frozenset(e) for e in edges}
    changed = True
    while changed:
        changed = False
        for i, j in combinations(range(len(answers)), 2):
            linked = answers[i] is not None and answers[j] is not None
            linked = linked and (answers[i] == answers[j] or frozenset((answers[i], answers[j])) in links)
            if linked and label[i] != label[j]:
                label[i] = label[j] = min(label[i], label[j])
                changed = True
    return partition(label)


WORDS = ["a", "b", "c", "d", "e", "f", "g"]
answer_lists = st.lists(st.sampled_from([None, *WORDS]), min_size=1, max_size=10)
edge_sets = st.sets(st.sampled_from(list(combinations(WORDS, 2))))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  42 ", "42"),
        ("$42$", "42"),
        (r"\boxed{42}", "42"),
        (r"$\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\(x\)", "x"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left(1,\,2\right)", "(1, 2)"),
        (r"42\text{ apples}", "42 apples"),
        ("42.", "42"),
        ("\u22125", "-5"),
        ("a  b\n c", "a b c"),
        (r"\$5", r"\$5"),
        ("$5", "$5"),
        ("$x$ and $y$", "$x$ and $y$"),
        (r"\boxed{1} and \boxed{2}", r"\boxed{1} and \boxed{2}"),
        (r"x^2", "x^2"),
        ("x²", "x²"),
        ("X", "X"),
    ],
)
def test_normalisation_removes_typesetting_only(raw, expected):
    assert untypeset(raw) == expected
    assert untypeset(expected) == expected


@pytest.mark.parametrize("raw", [None, "", "  ", "$$", r"\boxed{}", r"\boxed{ }", "."])
def test_nothing_left_is_no_answer(raw):
    assert untypeset(raw) is None


@given(st.text(max_size=30))
def test_normalisation_is_idempotent(text):
    once = untypeset(text)
    assert once == untypeset(once)


def test_unparsed_answers_are_singletons_even_for_a_judge_that_merges_all():
    everything = GraphJudge(combinations([*WORDS, "", "None"], 2))
    result = cluster_answers([None, "a", None, "", "b", None], everything)
    assert result.cluster_ids == (0, 1, 2, 3, 1, 4)
    assert result.strings == (None, "a", None, None, "b", None)
    assert len(result.judgements) == 1


def test_equal_normalised_strings_merge_without_a_judgement():
    judge = GraphJudge([])
    result = cluster_answers([r"\dfrac12", r"$\frac12$", r"\boxed{\frac12}"], judge)
    assert result.cluster_ids == (0, 0, 0)
    assert result.judgements == () and judge.batches == []


def test_verdicts_are_closed_transitively_even_where_the_judge_denies_it():
    result = cluster_answers(["a", "b", "c"], GraphJudge([("a", "b"), ("b", "c")]))  # a = c is denied
    assert result.cluster_ids == (0, 0, 0)


def test_no_question_once_both_share_a_class():
    judge = GraphJudge(combinations(WORDS, 2))
    result = cluster_answers(WORDS, judge)
    assert len(set(result.cluster_ids)) == 1
    assert len(result.judgements) == len(WORDS) - 1  # a spanning tree


def test_all_different_costs_every_pair_once():
    result = cluster_answers(WORDS * 2, ExactJudge())
    u = len(WORDS)
    assert len(result.judgements) == u * (u - 1) // 2
    assert result.cluster_ids == tuple(range(u)) * 2


def test_undecided_does_not_merge_and_is_kept():
    result = cluster_answers(["50%", "50"], SymbolicJudge())
    assert result.cluster_ids == (0, 1)
    assert [j.equivalent for j in result.judgements] == [None]


def test_numbers_are_settled_by_key_and_only_the_rest_is_asked():
    judge = GraphJudge([("2", r"\sqrt{4}"), ("3", "4")])
    result = cluster_answers(["2", "x=2", "4/2", "3", "4", r"\sqrt{4}", "2.00 apples"], judge)
    assert result.cluster_ids == (0, 0, 0, 1, 2, 0, 0)  # "3" and "4" differ, whatever a judge might say
    assert all(r"\sqrt{4}" in (j.left, j.right) for j in result.judgements)
    assert cluster_answers(["1/2", "0.5", "7", "x = 8"], GraphJudge([])).judgements == ()


def test_the_exact_judge_uses_no_keys():
    result = cluster_answers(["1/2", "0.5", "7"], ExactJudge())
    assert result.cluster_ids == (0, 1, 2)
    assert [j.judge for j in result.judgements] == ["exact"] * 3


NUMBERS = ["2", "2.0", "4/2", "x=2", "y=2", "2 cm", "2 apples", "200%", "0.33", "1/3", "0.333", "33.33%", "3", "(1, 2)"]


@given(st.lists(st.sampled_from([None, "a", "A", *NUMBERS]), min_size=1, max_size=10), st.randoms())
def test_keys_change_no_class_and_spare_judgements_whatever_the_order(answers, random):
    keyed, asked = cluster_answers(answers, SymbolicJudge()), cluster_answers(answers, WithoutKeys())
    assert keyed.cluster_ids == asked.cluster_ids
    assert len(keyed.judgements) <= len(asked.judgements)
    assert all(j.equivalent is None or "(1, 2)" in (j.left, j.right) for j in keyed.judgements)
    order = list(range(len(answers)))
    random.shuffle(order)
    shuffled = cluster_answers([answers[i] for i in order], SymbolicJudge())
    assert shuffled.judgements == keyed.judgements
    assert {frozenset(order[i] for i in block) for block in partition(shuffled.cluster_ids)} == partition(
        keyed.cluster_ids
    )


@given(answer_lists, edge_sets)
def test_classes_are_the_connected_components(answers, edges):
    judge = GraphJudge(edges)
    result = cluster_answers(answers, judge)
    assert partition(result.cluster_ids) == components(answers, edges)
    u = len({a for a in answers if a is not None})
    asked = [(j.left, j.right) for j in result.judgements]
    assert len(asked) == len(set(asked)) <= u * (u - 1) // 2
    assert all(left < right for left, right in asked)


@given(answer_lists, edge_sets)
def test_batching_asks_nothing_superfluous(answers, edges):
    """Replaying the judgements one by one, each pair lies in two different classes when it is asked."""
    result = cluster_answers(answers, GraphJudge(edges))
    owner = {w: w for w in WORDS}
    for j in result.judgements:
        assert owner[j.left] != owner[j.right]
        if j.equivalent:
            old, new = owner[j.left], owner[j.right]
            owner = {w: new if c == old else c for w, c in owner.items()}


@given(answer_lists, edge_sets, st.randoms())
def test_order_of_samples_does_not_matter(answers, edges, random):
    order = list(range(len(answers)))
    random.shuffle(order)
    before = cluster_answers(answers, GraphJudge(edges))
    after = cluster_answers([answers[i] for i in order], GraphJudge(edges))
    assert {frozenset(order[i] for i in block) for block in partition(after.cluster_ids)} == partition(
        before.cluster_ids
    )
    assert after.judgements == before.judgements


@given(st.lists(answer_lists, max_size=5), edge_sets)
def test_many_problems_at_once_give_the_same_in_fewer_calls(problems, edges):
    together = GraphJudge(edges)
    assert cluster_many(problems, together) == [cluster_answers(p, GraphJudge(edges)) for p in problems]
    assert len(together.batches) <= len(WORDS)


@given(answer_lists)
def test_ids_number_classes_by_first_appearance(answers):
    ids = cluster_answers(answers, ExactJudge()).cluster_ids
    assert list(dict.fromkeys(ids)) == list(range(len(set(ids))))
