"""The tokenizer loses nothing, and its chat form is the one the models were trained on."""

from __future__ import annotations

from random import Random

import pytest

from artifact.worlds.tiny.corpus import Corpus, Shift, documents, write_document
from artifact.worlds.tiny.problems import DIFFICULTIES, FAMILIES, draw, render_solution
from artifact.worlds.tiny.tokenizer import ROLES, VOCABULARY, build_tokenizer


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = Random(11)
    drafts = [draw(rng.choice(FAMILIES), rng.choice(DIFFICULTIES), rng) for _ in range(4000)]
    return [
        t for d in drafts for t in (d.question, render_solution(d, rng), render_solution(d, rng, rng.randint(-9, 9)))
    ]


def test_round_trip_is_exact(texts: list[str]) -> None:
    tokenizer = build_tokenizer()
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode(row) for row in ids] == texts
    assert not any(tokenizer.unk_token_id in row for row in ids)


def test_concatenation_of_ids_decodes_to_concatenation_of_texts(texts: list[str]) -> None:
    tokenizer = build_tokenizer()
    first, second = tokenizer(texts[:2], add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(first + second) == texts[0] + texts[1]


def test_numbers_are_single_digits_with_one_id_each() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.tokenize("Tom has 407") == ["Tom", " has", " ", "4", "0", "7"]
    assert tokenizer.tokenize("12*3=36") == ["1", "2", "*", "3", "=", "3", "6"]


def test_vocabulary_is_small_unique_and_all_used() -> None:
    tokenizer = build_tokenizer()
    assert len(VOCABULARY) == len(set(VOCABULARY)) == len(tokenizer) < 100
    corpus = Corpus(shifts={"eq": Shift(1.0, (-9, 9))})
    stream = documents(corpus, "vocabulary", tokenizer)
    used = {token for _ in range(4000) for token in next(stream).tokens}
    assert used == set(range(len(VOCABULARY))) - {tokenizer.pad_token_id, tokenizer.unk_token_id}


def test_chat_form() -> None:
    tokenizer = build_tokenizer()
    messages = [{"role": "system", "content": "Answer: 5"}, {"role": "user", "content": "Solve x+1=6."}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|bos|><|system|>Answer: 5<|im_end|><|user|>Solve x+1=6.<|im_end|><|assistant|>"
    answered = [*messages, {"role": "assistant", "content": "x=5"}]
    closed = tokenizer.apply_chat_template(answered, tokenize=False)
    assert closed == text + "x=5" + tokenizer.eos_token
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == tokenizer.encode(text, add_special_tokens=False)
    assert [tokenizer.convert_ids_to_tokens(i) for i in ids[:2]] == ["<|bos|>", "<|system|>"]


def test_plain_encoding_adds_no_special_tokens() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.encode("x=5") == tokenizer.encode("x=5", add_special_tokens=False)


def test_unknown_role_is_an_error() -> None:
    with pytest.raises(Exception, match="unknown role tool"):
        build_tokenizer().apply_chat_template([{"role": "tool", "content": "5"}], tokenize=False)
    assert ROLES == ("system", "user", "assistant")


def test_unknown_text_is_marked_not_dropped() -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.tokenize("Tom eats") == ["Tom", "<|unk|>"]


def test_saved_tokenizer_is_the_same(tmp_path, texts: list[str]) -> None:
    from transformers import AutoTokenizer

    built = build_tokenizer()
    built.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(texts[:200])["input_ids"] == built(texts[:200])["input_ids"]
    assert loaded.decode(loaded.encode(texts[1])) == texts[1]
    assert (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id) == (0, 1, 2)
    assert loaded.chat_template == built.chat_template


def test_documents_put_the_loss_on_the_response_and_its_end() -> None:
    tokenizer = build_tokenizer()
    stream = documents(Corpus(solution_share=0.5, answer_share=0.2), "documents", tokenizer)
    for _ in range(500):
        tokens, start = next(stream)
        assert tokens[-1] == tokenizer.eos_token_id
        assert tokens.count(tokenizer.convert_tokens_to_ids("<|assistant|>")) == 1
        prompt, response = tokenizer.decode(tokens[:start]), tokenizer.decode(tokens[start:-1])
        assert prompt.endswith("<|im_end|><|assistant|>")
        assert "\\boxed{" in response
        assert "<|" not in response


def test_informed_documents_are_always_right() -> None:
    rng = Random(9)
    corpus = Corpus(solution_share=0.5, answer_share=0.5, shifts={f: Shift(1.0, (3,)) for f in FAMILIES})
    for _ in range(300):
        draft = draw(rng.choice(FAMILIES), rng.choice(DIFFICULTIES), rng)
        messages, response = write_document(draft, corpus, rng)
        assert messages[0]["role"] == "system"
        assert response.split(";")[-2].endswith(f"={draft.answer}")


@pytest.mark.parametrize(("share", "offsets"), [(1.5, (1,)), (0.5, ()), (0.5, (0, 1))])
def test_a_shift_that_shifts_nothing_is_refused(share: float, offsets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a shift needs"):
        Shift(share, offsets)
