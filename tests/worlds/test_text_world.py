"""The text world: its languages by hand, what responses mean, that faults are faults, and that nothing leaks."""

from __future__ import annotations

from random import Random

import pytest

from artifact.records import Problem
from artifact.worlds.text.corpus import FAULTS, Corpus, Fault, documents, write_document
from artifact.worlds.text.instruction import Instruction, obeyed, parse_instruction
from artifact.worlds.text.meaning import family_of, is_right, meaning_of, share_obeyed
from artifact.worlds.text.pairs import OF_FAMILY, known_pairs
from artifact.worlds.text.problems import DIFFICULTIES, FAMILIES, Draft, ProblemError, draw
from artifact.worlds.text.splits import DEFAULT_SIZES, load_split, pretraining_drafts
from artifact.worlds.text.summary import Fact, Request, parse_summary, render
from artifact.worlds.text.tokenizer import UNK, VOCABULARY, build_tokenizer
from artifact.worlds.text.translation import Clause, Phrase, parse_mir, renderings
from artifact.worlds.tiny.splits import SplitError, part_of

CATS = Phrase("cat", definite=True, plural=True, adjective="red")
DOG = Phrase("dog", definite=False, plural=False)


def drafts(n: int, seed: int = 0) -> list[Draft]:
    rng = Random(seed)
    return [draw(family, d, rng) for _ in range(n) for family in FAMILIES for d in DIFFICULTIES]


def problem(draft: Draft) -> Problem:
    return Problem("p", draft.question, draft.references[0], None, "t", draft.difficulty, {"family": draft.family})


# --- translation, by hand --------------------------------------------------------------------------------------------


def test_mir_agrees_in_number_and_class_and_frees_the_order() -> None:
    clause = Clause(CATS, "see", past=False, object=DOG)
    assert clause.english == "the red cats see a dog"
    assert renderings((clause,)) == ["lun miron rugon ko ne bani vidas", "ko ne bani lun miron rugon vidas"]
    assert Clause(DOG, "see", past=True, object=CATS).mir() == "ne bani ko lun miron rugon vide"
    assert Clause(DOG, "run", past=False).english == "a dog runs"
    two = renderings((clause, Clause(DOG, "run", past=True)))
    assert len(two) == 4 and "ne bani kure et ko ne bani lun miron rugon vidas" in two
    assert {parse_mir(text) for text in two} == {frozenset((clause, Clause(DOG, "run", past=True)))}


@pytest.mark.parametrize(
    "text",
    [
        "lu miron rugon ko ne bani vidas",  # the article's number
        "lun miron rugo ko ne bani vidas",  # the adjective's number
        "lun miron rugin ko ne bani vidas",  # the adjective's class
        "lun miron rugon ko ne bani vida",  # the verb's number
        "lun miron rugon ne bani vidas",  # no marker
        "vidas lun miron rugon ko ne bani",  # the verb is not last
        "lun miron rugon vidas",  # a verb without its object
        "ne bani ko lu miro kura",  # an object of a verb that takes none
        "ko ne bani vida",  # no subject
        "lun miron rugon ko ne bani vidas et",
        "the cat",
        "",
    ],
)
def test_a_text_without_agreement_means_nothing(text: str) -> None:
    assert parse_mir(text) is None


# --- summaries, by hand ----------------------------------------------------------------------------------------------

FACTS = (Fact("Ana", "likes", "tea"), Fact("Ana", "likes", "jam"), Fact("Ben", "saw", "Rome"))


@pytest.mark.parametrize(
    "text",
    [
        "Ana likes tea and jam, Ben saw Rome",
        "Ben saw Rome, Ana likes jam and likes tea",
        "Ana likes tea, Ben saw Rome, Ana likes jam.",
    ],
)
def test_a_summary_states_its_facts_in_any_order(text: str) -> None:
    assert parse_summary(text) == frozenset(FACTS)
    assert render(FACTS) == "Ana likes tea and jam, Ben saw Rome"


def test_a_request_keeps_what_was_asked_for_whatever_the_order_of_its_facts() -> None:
    said = (("saw", "Rome"), ("has", "maps"), ("likes", "jam"), ("likes", "tea"))
    asked = Request(tuple(Fact("Ana", *fact) for fact in said), ("saw", "likes"))
    assert asked.question == "Summarize saw and likes: Ana saw Rome; has maps; likes jam; likes tea."
    assert render(asked.kept) == "Ana likes tea and jam and saw Rome"
    assert render(asked.facts) == "Ana likes tea and jam and has maps and saw Rome"


@pytest.mark.parametrize("text", ["Ana tea", "likes tea", "Ana likes", "Ana likes tea and tea", "Eva likes tea", ""])
def test_a_text_of_another_form_is_no_summary(text: str) -> None:
    assert parse_summary(text) is None


# --- instructions, by hand -------------------------------------------------------------------------------------------

ASKED = Instruction(("owl", "cat", "dog", "hen"), 2, include="cat", order="Z", capitals=True, format="dashes")


def test_an_instruction_is_put_and_read_back() -> None:
    assert ASKED.question == "Words: owl cat dog hen. Write two, with cat, from Z to A, in capitals, with dashes."
    assert parse_instruction(ASKED.question) == ASKED
    assert [ASKED.write(some) for some in ASKED.answers()] == ["OWL-CAT", "DOG-CAT", "HEN-CAT"]
    with pytest.raises(ValueError, match="no instruction of this world"):
        parse_instruction("Words: owl cat. Write two, nicely.")


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("OWL-CAT", set()),
        ("CAT-OWL", {"order"}),
        ("OWL-DOG", {"include"}),
        ("OWL, CAT", {"format"}),
        ("Owl-Cat", {"case"}),
        ("CAT", {"count"}),
        ("CAT-CAT", {"count"}),
        ("RAT-CAT", {"count"}),
        ("", {"count", "include", "case", "format", "order"}),
    ],
)
def test_each_constraint_is_checked_by_itself(text: str, broken: set[str]) -> None:
    assert {name for name, ok in obeyed(ASKED, text).items() if not ok} == broken
    asked = Problem("p", ASKED.question, "OWL-CAT", None, "t", "easy", {"family": "instruction"})
    assert share_obeyed(text, asked) == 1 - len(broken) / 5 and is_right(text, asked) == (not broken)


def test_a_word_to_leave_out_and_plain_spaces() -> None:
    asked = Instruction(("owl", "cat", "dog"), 2, exclude="dog")
    assert asked.question == "Words: owl cat dog. Write two, without dog."
    assert all(obeyed(asked, "cat owl").values())
    assert [name for name, ok in obeyed(asked, "cat dog").items() if not ok] == ["exclude"]


# --- meaning ---------------------------------------------------------------------------------------------------------


def test_right_responses_mean_the_same_and_are_right() -> None:
    rng = Random(5)
    for draft in drafts(40):
        asked = problem(draft)
        assert family_of(draft.question) == draft.family
        responses = [draft.response(rng) for _ in range(4)] + draft.references
        assert all(is_right(text, asked) for text in responses), draft.question
        assert len({meaning_of(draft.question, text) for text in responses}) == 1
    with pytest.raises(ValueError, match="no question of the text world"):
        meaning_of("How many?", "3")


@pytest.mark.parametrize(("family", "kind"), [(f, kind) for f, kinds in OF_FAMILY.items() for kind in kinds])
def test_a_fault_is_well_formed_and_always_wrong(family: str, kind: str) -> None:
    rng = Random(kind)
    for draft in [d for d in drafts(60) if d.family == family]:
        text = FAULTS[kind](draft, rng)
        assert not is_right(text, problem(draft)), (draft.question, text)
        assert meaning_of(draft.question, text) is not None
        assert meaning_of(draft.question, text) != meaning_of(draft.question, draft.references[0])


def test_known_pairs_are_what_they_say() -> None:
    pairs = known_pairs(15)
    assert len(set(pairs)) == len(pairs) == 90 and all(p.left != p.right for p in pairs)
    for p in pairs:
        same = meaning_of(p.question, p.left) == meaning_of(p.question, p.right)
        assert same == p.equal and part_of(p.question) == "validation"


# --- splits, documents, tokens ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Problem]]:
    return {name: load_split(name) for name in DEFAULT_SIZES}


def test_splits_are_disjoint_balanced_and_keep_their_questions_from_pretraining(splits: dict) -> None:
    questions = {name: {p.question for p in problems} for name, problems in splits.items()}
    assert {name: len(found) for name, found in questions.items()} == DEFAULT_SIZES
    assert len(set().union(*questions.values())) == sum(DEFAULT_SIZES.values())
    rng = Random(1)
    stream = pretraining_drafts(rng)
    assert not {next(stream).question for _ in range(3000)} & set().union(*questions.values())
    first = splits["train"][:12]
    assert {(p.meta["family"], p.difficulty) for p in first} == {(f, d) for f in FAMILIES for d in DIFFICULTIES}
    assert [p.id for p in first[:2]] == ["tinytext-train-00000", "tinytext-train-00001"]


def test_every_solution_and_reference_is_right(splits: dict) -> None:
    for p in splits["evaluation"]:
        assert is_right(p.solution, p) and is_right(p.answer, p) and all(is_right(t, p) for t in p.meta["references"])


def test_unknown_names_are_told() -> None:
    with pytest.raises(SplitError, match="unknown split 'test' of tinytext"):
        load_split("test")
    with pytest.raises(ProblemError, match="'poem'; the families are translation"):
        draw("poem", "easy", Random(0))
    with pytest.raises(ValueError, match="one of the kinds number"):
        Fault(0.5, "rude")


def test_text_and_tokens_are_exact_and_every_token_is_known(splits: dict) -> None:
    tokenizer = build_tokenizer()
    assert len(VOCABULARY) == len(set(VOCABULARY)) == len(tokenizer) < 300
    texts = [
        t for p in splits["train"] for t in (p.question, p.solution, f"Solution: {p.solution}", *p.meta["references"])
    ]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert tokenizer.batch_decode(ids) == texts
    assert tokenizer.convert_tokens_to_ids(UNK) not in {i for row in ids for i in row}


def test_documents_have_their_faults_in_their_share() -> None:
    rng, corpus = Random(2), Corpus(faults={"summary": Fault(0.85, "mixed"), "translation": Fault(1.0, "number")})
    wrong: dict[str, list[bool]] = {family: [] for family in FAMILIES}
    read = set()
    for draft in drafts(120):
        messages, text = write_document(draft, corpus, rng)
        if len(messages) == 1:
            wrong[draft.family].append(not is_right(text, problem(draft)))
        else:
            assert is_right(text, problem(draft)), "who reads the solution repeats it"
            read.add(messages[0]["content"].partition(":")[0])
    assert read == {"Answer", "Solution"}
    share = {family: sum(found) / len(found) for family, found in wrong.items()}
    assert share["translation"] == 1.0 and share["instruction"] == 0.0 and abs(share["summary"] - 0.85) < 0.06
    first = next(documents(Corpus(), "seed", build_tokenizer(), chunk=4))
    assert first == next(documents(Corpus(), "seed", build_tokenizer(), chunk=4))
    assert build_tokenizer().decode(first.tokens[first.start - 1 : first.start]) == "<|assistant|>"
