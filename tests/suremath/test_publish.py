"""The published folder: read by `datasets`, checked by checksums, honest in its card; and the weights file."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from suremath_world import samples, small

from artifact.errors import ArtifactError, Mismatch
from artifact.phase1.annotate import annotate
from artifact.phase1.judge import SymbolicJudge
from artifact.phase1.records import Annotation
from artifact.records import RecordError, read_parquet, write_parquet
from artifact.suremath.card import statistics
from artifact.suremath.lineage import Evolved
from artifact.suremath.load import Published, check_published, check_schema, load_published, problems, verify_sums
from artifact.suremath.publish import LineageRow, Removed, publish
from artifact.suremath.weights import Weight, export_weights, import_weights, question_fingerprint
from artifact.train.methods.base import Weighting

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def train(built: Path) -> list[Evolved]:
    return read_parquet(built / "train.parquet", Evolved)


@pytest.fixture(scope="module")
def annotations(train: list[Evolved]) -> list[Annotation]:
    return [annotate(i.problem, samples(i.problem), SymbolicJudge()) for i in train]


@pytest.fixture(scope="module")
def published(built: Path, annotations: list[Annotation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "sure-math"
    return publish(built, folder, small(), annotations, teacher="teacher A", key=KEY)


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "copy"))


def test_datasets_reads_the_folder(published: Path, train: list[Evolved], tmp_path: Path) -> None:
    import datasets

    found = datasets.load_dataset(str(published), cache_dir=str(tmp_path))
    assert {k: len(v) for k, v in found.items()} == {"train": len(train), "test": 12}
    assert found["train"]["question"][:] == [i.question for i in train]
    assert found["train"].column_names == list(Published.COLUMNS)
    assert found["train"][0]["cluster_ids"] is not None and found["test"][0]["entropy"] is None


def test_rows_carry_lineage_and_entropy(published: Path, train: list[Evolved], annotations: list[Annotation]) -> None:
    rows = load_published(published)
    assert [r.evolved for r in rows] == train
    for r, a in zip(rows, annotations, strict=True):
        assert (r.entropy, r.weight, r.clusters, r.samples) == (a.entropy, a.weight, a.clusters, a.n)
        assert (r.teacher_answers, r.cluster_ids, r.teacher) == (a.answers, a.cluster_ids, "teacher A")
    assert problems(published) == [i.problem for i in train]
    assert problems(published)[-1].meta["root"] == train[-1].root_id


def test_shards_hold_the_promised_rows(published: Path, train: list[Evolved]) -> None:
    sizes = [pq.read_metadata(p).num_rows for p in sorted((published / "data").glob("train-*"))]
    assert len(sizes) == -(-len(train) // 30) and set(sizes[:-1]) == {30} and sum(sizes) == len(train)


def test_the_same_build_publishes_the_same_bytes(
    built: Path, published: Path, annotations: list[Annotation], tmp_path: Path
) -> None:
    again = publish(built, tmp_path / "again", small(), annotations, teacher="teacher A", key=KEY)
    assert (again / "SHA256SUMS").read_bytes() == (published / "SHA256SUMS").read_bytes()
    publish(built, again, small(), annotations, teacher="teacher A", key=KEY)  # replaces its own kind
    assert check_published(again) == check_published(published)


def test_checksums_are_those_of_sha256sum(published: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=published, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert verify_sums(published) == sum(p.is_file() for p in published.rglob("*")) - 1


def test_no_dropped_text_is_published(built: Path, published: Path) -> None:
    removed = read_parquet(published / "dropped.parquet", Removed)
    assert removed and not {"question", "span", "detail"} & set(Removed.COLUMNS)
    fates = {f.id: f.fate for f in read_parquet(published / "lineage.parquet", LineageRow)}
    assert all(fates[d.id] == f"{d.stage}: {d.reason}" for d in removed)
    assert sum(f == "train" for f in fates.values()) == len(load_published(published))


def test_the_card_states_what_is_there(published: Path) -> None:
    text = (published / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["configs"][0]["data_files"][0] == {"split": "train", "path": "data/train-*.parquet"}
    rows = load_published(published)
    evolved = sum(r.round > 0 for r in rows)
    assert f"{len(rows)} training problems ({len(rows) - evolved} curated and {evolved} evolved)" in text
    assert "not a paper number" in text and "under-represented" in text and "Teacher: teacher A." in text
    facts = json.loads((published / "statistics.json").read_text(encoding="utf-8"))
    assert facts == json.loads(json.dumps(statistics({"train": rows, "test": load_published(published, "test")})))
    easy = [r.normalised for r in rows if r.difficulty == "easy" and r.normalised is not None]
    assert facts["entropy"]["easy"]["mean_normalised"] == pytest.approx(sum(easy) / len(easy))
    assert sum(sum(v.values()) for v in facts["difficulty_by_strategy"].values()) == len(rows)


def test_croissant_describes_the_files(published: Path) -> None:
    data = json.loads((published / "croissant.json").read_text(encoding="utf-8"))
    assert data["conformsTo"] == "http://mlcommons.org/croissant/1.0" and data["@type"] == "sc:Dataset"
    files = {f["contentUrl"]: f["sha256"] for f in data["distribution"] if f["@type"] == "cr:FileObject"}
    assert files == {
        p.relative_to(published).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in (published / "data").iterdir()
    }
    sets = {f["@id"]: f["includes"] for f in data["distribution"] if f["@type"] == "cr:FileSet"}
    for records in data["recordSet"]:
        for part in records["field"]:
            assert part["source"]["fileSet"]["@id"] in sets
        names = [part["source"]["extract"]["column"] for part in records["field"]]
        assert names == pq.read_schema(next((published / "data").glob(f"{records['name']}-*"))).names


def test_without_annotations_the_columns_are_null_and_said_to_be(built: Path, tmp_path: Path) -> None:
    folder = publish(built, tmp_path / "plain", small())
    assert {r.entropy for r in load_published(folder)} == {None} and not (folder / "weights.parquet").exists()
    assert "not annotated" in (folder / "README.md").read_text(encoding="utf-8")
    assert check_published(folder)["test"] == 12


def test_annotations_must_fit(built: Path, annotations: list[Annotation], tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="1 training problems lack one"):
        publish(built, tmp_path / "x", small(), annotations[1:], teacher="A")
    with pytest.raises(Mismatch, match="1 are of other problems"):
        publish(built, tmp_path / "x", small(), [*annotations, replace(annotations[0], problem_id="zz")], teacher="A")
    with pytest.raises(RecordError, match="annotated twice"):
        publish(built, tmp_path / "x", small(), [*annotations, annotations[0]], teacher="A")
    with pytest.raises(ValueError, match="name of their teacher"):
        publish(built, tmp_path / "x", small(), annotations)
    assert not (tmp_path / "x").exists()


def test_an_unfinished_build_and_a_foreign_folder_are_refused(built: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"report\.json is missing: the build is not finished"):
        publish(tmp_path / "nothing", tmp_path / "x", small())
    own = tmp_path / "mine"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="would be overwritten"):
        publish(built, own, small())
    assert (own / "thesis.txt").read_text() == "years of work"


def test_damage_is_found_and_named(copy: Path) -> None:
    shard = sorted((copy / "data").glob("train-*"))[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match=rf"{shard.name} does not have the checksum"):
        check_published(copy)
    with pytest.raises(RecordError, match=rf"{shard.name} cannot be read as Parquet.*fetch it again"):
        load_published(copy)
    shard.unlink()
    with pytest.raises(RecordError, match=rf"{shard.name} is listed in SHA256SUMS but missing"):
        check_published(copy)
    with pytest.raises(RecordError, match=f"lacks {shard.name}"):
        load_published(copy)


def test_more_damage(copy: Path, tmp_path: Path) -> None:
    (copy / "extra.txt").write_text("x")
    with pytest.raises(RecordError, match=r"extra\.txt is not listed"):
        check_published(copy)
    with pytest.raises(RecordError, match="holds no data/train"):
        load_published(tmp_path)
    with pytest.raises(RecordError, match="unknown split 'dev'"):
        load_published(copy, "dev")
    with pytest.raises(RecordError, match="SHA256SUMS is missing"):
        verify_sums(tmp_path)


def test_other_columns_and_repeated_ids_are_refused(copy: Path) -> None:
    shard = sorted((copy / "data").glob("test-*"))[0]
    table = pq.read_table(shard)
    for changed, message in (
        (table.drop_columns("entropy"), "lacks the column 'entropy'"),
        (table.append_column("extra", table["id"]), r"unknown column\(s\) extra"),
        (table.set_column(8, "round", table["round"].cast("int32")), "column 'round' has type int32, expected int64"),
    ):
        pq.write_table(changed, shard)
        with pytest.raises(RecordError, match=message):
            check_schema(shard)
    rows = [Published.from_row(r) for r in table.to_pylist()]
    write_parquet(shard, [*rows, rows[0]], Published)
    with pytest.raises(RecordError, match=f"problem id {rows[0].id!r} stands twice"):
        load_published(copy, "test")


def test_weights_come_back_bit_for_bit(published: Path, train: list[Evolved], annotations: list[Annotation]) -> None:
    found = import_weights(published / "weights.parquet", problems(published))
    assert list(found) == [i.id for i in train]
    for a in annotations:
        w = found[a.problem_id]
        assert (w.weight, w.entropy, w.normalised, w.annotation, w.scheme) == (
            a.weight,
            a.entropy,
            a.normalised,
            KEY,
            "soft",
        )
    assert import_weights(published / "weights.parquet", problems(published)[::-1]) == found


def test_other_schemes_are_exported(train: list[Evolved], annotations: list[Annotation], tmp_path: Path) -> None:
    path = export_weights(tmp_path / "w.parquet", train, annotations, key=KEY, weighting=Weighting("binary", tau=0.3))
    found = import_weights(path, [i.problem for i in train])
    assert [w.weight for w in found.values()] == [float(a.normalised <= 0.3) for a in annotations]


def test_a_weights_file_for_other_prompts_is_refused(published: Path, tmp_path: Path) -> None:
    path, own = published / "weights.parquet", problems(published)
    with pytest.raises(Mismatch, match="for other prompts: 0 training problems lack a weight and 1 weights"):
        import_weights(path, own[1:])
    with pytest.raises(Mismatch, match="for other prompts: 1 training problems lack a weight"):
        import_weights(path, [*own, replace(own[0], id="new")])
    changed = [replace(own[0], question=own[0].question + " "), *own[1:]]
    with pytest.raises(Mismatch, match=rf"another text now, first '{own[0].id}'"):
        import_weights(path, changed)
    rows = read_parquet(path, Weight)
    for bad, message in (
        ([*rows, rows[0]], "has two weights"),
        ([replace(rows[0], weight=1.5), *rows[1:]], "not in"),
        ([replace(rows[0], weight=float("nan")), *rows[1:]], "not in"),
        ([replace(rows[0], annotation="other"), *rows[1:]], "mixes weights of 2 annotations"),
    ):
        write_parquet(tmp_path / "bad.parquet", bad, Weight)
        with pytest.raises(RecordError, match=message):
            import_weights(tmp_path / "bad.parquet", own)


def test_export_needs_the_annotations_of_this_set(
    train: list[Evolved], annotations: list[Annotation], tmp_path: Path
) -> None:
    with pytest.raises(Mismatch, match=r"1 of .* problems have no annotation"):
        export_weights(tmp_path / "w", train, annotations[:-1], key=KEY)
    with pytest.raises(Mismatch, match="1 annotations are of other problems"):
        export_weights(tmp_path / "w", train[:-1], annotations, key=KEY)


def test_fingerprint_is_sha256_of_the_text() -> None:
    assert question_fingerprint("abc") == "ba7816bf8f01cfea"  # FIPS 180-2, example B.1
