"""What goes wrong says what, where, and what to do: settings, chat templates, a full disk, folders of others."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import pytest
from tests.studies.stored import stored

from artifact.config import ConfigError, load, parse_overrides, read_yaml
from artifact.disk import DiskFull, is_full, told_when_full
from artifact.errors import ArtifactError
from artifact.files import write_text
from artifact.studies.benchmark_results import own_files, write_report
from artifact.tasks import prompts
from artifact.tasks.cpu_limit import OutOfTime, cpu_limit
from artifact.tasks.prompts import encode_prompt


@pytest.mark.parametrize("text", ["[1", "{a: b", "'", "2001-13-45", "a: b: c", "@x", "[" * 5000])
def test_a_value_that_is_no_yaml(text: str) -> None:
    with pytest.raises(ConfigError, match=r"override .train\.steps=.*not valid YAML.*quotes"):
        parse_overrides([f"train.steps={text}"])


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    for i, content in enumerate((b"a: [1", b"a: 2001-13-45", b"a: \xff\xfe", b"a: .nan", b"a: {b: [1, -.inf]}")):
        path = tmp_path / f"{i}.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=rf"{i}\.yaml.*(not valid YAML|must be a finite number)"):
            read_yaml(path)


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "inf", "1e999"])
@pytest.mark.parametrize(
    ("key", "form", "named"),
    [
        ("optimiser.lr", "{}", "optimiser.lr"),
        ("losses.distil.temperature", "{}", "losses.distil.temperature"),
        ("losses", "{{distil: {{temperature: {}}}}}", "losses.distil.temperature"),
        ("optimiser.betas", "[0.9, {}]", "optimiser.betas.1"),
        ("method_options.alpha", "{}", "method_options.alpha"),
        ("method_options", "{{a: {{b: [0, {}]}}}}", "method_options.a.b.1"),
        ("cluster.engine.kv_cache_gib", "{}", "cluster.engine.kv_cache_gib"),
    ],
)
def test_numbers_are_finite(key: str, form: str, named: str, number: str) -> None:
    if key != named:  # within a list or section YAML alone reads the number
        number = {"inf": ".inf", "1e999": "1.0e+999"}.get(number, number)
    with pytest.raises(ConfigError, match=rf"override '{key}'.*{named} = -?(inf|nan).*finite"):
        load("tiny", parse_overrides([f"{key}={form.format(number)}"]))


def test_numbers_given_in_python_are_finite_too() -> None:
    with pytest.raises(ConfigError, match=r"method_options\.alpha = nan: must be a finite number"):
        load("tiny", {"method_options": {"alpha": float("nan")}})


class Model:
    """A tokenizer with a chat template of its own, rendered as transformers renders it."""

    name_or_path = "models/theirs"

    def __init__(self, template: str) -> None:
        self.chat_template = template

    def apply_chat_template(self, messages: Any, **how: Any) -> dict[str, Any]:
        from transformers.utils.chat_template_utils import render_jinja_template

        (text,), _ = render_jinja_template([messages], chat_template=self.chat_template)
        return {"input_ids": [len(text)]}


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{{ messages.nothing.at_all }}", "UndefinedError"),
        ("{{ 1 + 'a' }}", "TypeError"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{% for i in range(999999999) %}{% endfor %}", "OverflowError"),
    ],
)
def test_a_chat_template_that_fails(template: str, why: str) -> None:
    with pytest.raises(
        ArtifactError, match=rf"(?s)chat template of 'models/theirs' fails on .* user .*{why}.*chat_template"
    ):
        encode_prompt(Model(template), [{"role": "user", "content": "q"}])


def test_an_endless_chat_template_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "TEMPLATE_SECONDS", 0.5)
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i * j %}{% endfor %}{% endfor %}"
    start = time.thread_time()
    with pytest.raises(ArtifactError, match=r"did not end within 0\.5 s of computing.*messages of system, user"):
        encode_prompt(Model(loop), [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}])
    assert time.thread_time() - start < 10
    assert encode_prompt(Model("{{ messages[0].content }}"), [{"role": "user", "content": "four"}]) == (4,)


def test_the_limit_is_of_computing_not_of_waiting() -> None:
    with cpu_limit(0.3):
        time.sleep(0.8)
    for _ in range(3):
        with pytest.raises(OutOfTime), cpu_limit(0.2):
            while True:
                pass


def full(number: int) -> OSError:
    return OSError(number, "No room")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_folder_and_megabytes(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing file layer refuses the write as a full disk does. What was there stays, nothing is left over."""
    path = write_text(tmp_path / "a" / "b.txt", "before")

    def fail(*_: Any, **__: Any) -> int:
        raise full(number)

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(
        DiskFull, match=rf"{path.parent} cannot be written to.*3\.0 MB are needed.*MB are free.*ARTIFACT_RESULTS"
    ):
        write_text(path, "x" * 3_000_000)
    assert path.read_bytes() == b"before" and [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_a_full_disk_at_the_last_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise full(errno.ENOSPC)

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DiskFull, match="cannot be written to"):
        write_text(tmp_path / "c.txt", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_in_the_words_of_libraries(tmp_path: Path) -> None:
    for words in (
        "[enforce fail at inline_container.cc:664] . unexpected pos 5888 vs 5780",
        "PytorchStreamWriter failed writing file data/3: file write failed",
        "Error while serializing: I/O error: No space left on device (os error 28)",
        "ray::StudentActor.save() OSError: [Errno 122] Disk quota exceeded",
    ):
        with (
            pytest.raises(DiskFull, match=rf"{tmp_path}/run.*7\.0 MB are needed"),
            told_when_full(tmp_path / "run", 7_000_000),
        ):
            raise RuntimeError(words)
    try:
        try:
            raise full(errno.ENOSPC)
        except OSError as err:
            raise ValueError("could not save") from err
    except ValueError as err:
        assert is_full(err)
    assert not is_full(RuntimeError("unexpected key")) and not is_full(OSError(errno.EACCES, "x"))
    with pytest.raises(KeyError), told_when_full(tmp_path):
        raise KeyError("x")


def test_a_verb_on_a_full_disk_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: Any, results: Path) -> None:
    from artifact.cli import main

    def fail() -> None:
        raise full(errno.ENOSPC)

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 2 and f"error: {results} cannot be written to" in capsys.readouterr().err


def test_a_report_leaves_the_files_of_others_alone(results: Path, tmp_path: Path) -> None:
    infos, out = [stored(results, "a")], tmp_path / "mine"
    out.mkdir()
    theirs = (
        "graders.md",
        "disagreements.csv",
        "notes.txt",
        "lm-eval/m/results_2020.json",
        "lm-eval/m/samples_x.jsonl",
    )
    for name in theirs:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    write_report(infos, out)
    assert all((out / name).read_text() == "mine" for name in theirs)
    with pytest.raises(ConfigError, match=r"mine holds disagreements\.csv, graders\.md, which no earlier report"):
        write_report(infos, out, graders=True)
    (out / "benchmarks.md").write_text("annotated by hand")
    with pytest.raises(ConfigError, match=r"holds benchmarks\.md.*somebody changed since"):
        own_files(out, graders=False)
    assert (out / "benchmarks.md").read_text() == "annotated by hand"


def test_a_report_replaces_its_own(results: Path, tmp_path: Path) -> None:
    infos, out = [stored(results, "a")], tmp_path / "out"
    first = set(write_report(infos, out, graders=True).paths)
    assert own_files(out) == first
    second = set(write_report(infos, out).paths)
    assert second < first and not any(p.exists() for p in first - second) and all(p.exists() for p in second)


def test_a_record_cannot_reach_out_of_its_folder(results: Path, tmp_path: Path) -> None:
    from artifact.files import write_json
    from artifact.provenance import file_sha256

    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    listed = {"../outside.txt": {"sha256": file_sha256(outside), "bytes": 4}}
    write_json(tmp_path / "out" / "report.json", {"keys": [], "files": listed})
    write_report([stored(results, "a")], tmp_path / "out")
    assert outside.read_text() == "mine"
