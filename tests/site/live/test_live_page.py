"""The page itself: from disk, without network or error, for a phone, by keyboard; text stays text; what is refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.escape.payloads import HOSTILE
from tests.site.browsing import serious
from tests.site.live.conftest import MODELS, Live
from typer.testing import CliRunner

from artifact.cli.main import app
from artifact.config import ConfigError, load
from artifact.errors import Mismatch
from artifact.models import BrokenModel
from artifact.records import Rollout, write_parquet
from artifact.site import live_page
from artifact.site.live_page import MOST_BYTES, SCRIPTS, write_live_page
from artifact.site.live_weights import page_config
from artifact.site.live_world import spread, tokenizer_settings
from artifact.studies import store

MARKUP = "main script, main img, main svg, main iframe, main a[href^=javascript]"
PROBLEM = "Zoe has 12 apples, buys 5. How many apples?"


def shown(live: Live, name: str) -> str:
    return str(live.value(f"document.getElementById({name!r}).textContent"))


def test_it_loads_from_disk_without_network_or_error(live: Live) -> None:
    assert all(r.startswith("file://") for r in live.browser.requests)
    faults = [e for e in live.browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert faults == []
    assert "tokens a second" in shown(live, "status")
    assert live.value("document.querySelectorAll('#answers tbody tr').length") == 4
    assert live.value("document.querySelectorAll('#clouds article').length") == 2
    assert live.value("document.querySelectorAll('#tokens .token').length") > 5
    assert re.search(r"L = \d+\.\d+", shown(live, "scope-out"))


def test_its_policy_stops_a_foreign_address(live: Live) -> None:
    blocked = "fetch('http://127.0.0.1:9/').then(() => 'let through', (fault) => 'blocked')"
    assert live.value(blocked) == "blocked"
    assert "default-src 'none'" in live.path.read_text(encoding="utf-8")


def test_no_more_than_ten_megabytes(live: Live) -> None:
    files = [p for p in live.path.parent.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= MOST_BYTES == 10_000_000
    assert {p.name for p in files if p.parent == live.path.parent} == {*SCRIPTS, "index.html", "live.css"}


def test_every_control_has_a_name_and_every_list_a_heading(live: Live) -> None:
    unnamed = """[...document.querySelectorAll('input,select,textarea')].filter(e => !e.labels.length)
        .concat([...document.querySelectorAll('button')].filter(e => !(e.ariaLabel || e.textContent).trim()))
        .map(e => e.outerHTML)"""
    assert live.value(unnamed) == []
    ids = live.value("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)) > 20


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits(live: Live, width: int) -> None:
    live.browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
    )
    wide = live.value("document.documentElement.scrollWidth")
    live.browser.call("Emulation.clearDeviceMetricsOverride")
    assert wide <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_colour(live: Live, scheme: str) -> None:
    """WCAG contrast of at least 4.5 on the page, on cards, and on tokens of full colour."""
    live.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    contrast = """(() => {
        const style = getComputedStyle(document.documentElement);
        const light = (name) => { const hex = style.getPropertyValue(name).trim().slice(1);
            const full = hex.length === 3 ? [...hex].map(c => c + c).join('') : hex;
            const [r, g, b] = [0, 2, 4].map(i => parseInt(full.slice(i, i + 2), 16) / 255)
                .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ratio = (a, b) => {
            const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
            return (x + 0.05) / (y + 0.05); };
        return [['ink', 'paper'], ['ink', 'card'], ['ink', 'up'], ['ink', 'down'],
            ['quiet', 'paper'], ['quiet', 'card'], ['good', 'card'], ['bad', 'card'],
            ['good', 'paper'], ['bad', 'paper'], ['accent', 'paper']]
            .map(([a, b]) => [a, b, ratio(`--${a}`, `--${b}`)]); })()"""
    found = live.value(contrast)
    live.browser.call("Emulation.setEmulatedMedia", features=[])
    assert len(found) == 11 and [pair for pair in found if pair[2] < 4.5] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(live: Live, axe: str, scheme: str) -> None:
    live.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    found = serious(live.browser, axe)
    live.browser.call("Emulation.setEmulatedMedia", features=[])
    assert found == []


def test_tokens_are_read_by_keyboard(live: Live) -> None:
    def press(key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            live.browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    live.value("document.querySelector('#tokens .token').focus()")
    assert shown(live, "tokens").count("KL(teacher ‖ student)") == 1
    first = live.value("document.querySelector('#tokens .told strong').textContent")
    press("ArrowRight")
    second = live.value("document.querySelector('#tokens .told strong').textContent")
    press("End")
    last = live.value("document.querySelector('#tokens .told strong').textContent")
    assert first.startswith("1. ") and second.startswith("2. ") and "<|im_end|>" in last
    assert live.value("document.querySelectorAll('#tokens .token[tabindex=\"0\"]').length") == 1


def typed(live: Live, question: str, gold: str) -> None:
    live.call(
        """Live.at("question").value = a; Live.at("gold").value = b;
        Live.at("question").dispatchEvent(new Event("input"));
        await Live.ask.run(); Live.scope.rows.clear();""",
        question,
        gold,
    )


def test_a_typed_problem_is_answered_and_studied(live: Live) -> None:
    typed(live, PROBLEM, "17")
    assert live.value("Live.at('pick').value") == "" and shown(live, "unreadable") == ""
    assert "✓ correct" in shown(live, "answers")
    before = live.value("Live.scope.groups.length")
    live.call("await Live.scope.fresh();")
    assert live.value("Live.scope.groups.length") == before + 1 and PROBLEM in shown(live, "groups")
    assert "drawn here" in shown(live, "groups") and "L = " in shown(live, "scope-out")


def test_a_slider_changes_the_loss_at_once(live: Live) -> None:
    body = """Live.scope.listGroups(new Set([0])); Live.at("method").value = "core"; Live.at("alpha").value = a;
        Live.at("alpha").dispatchEvent(new Event("input")); await Live.scope.draw();
        return Live.at("loss").textContent;"""
    one, two = live.call(body, 1), live.call(body, 2)
    assert one != two and " = 1 · distillation" in one and " = 2 · distillation" in two
    hidden = "['weighting', 'threshold', 'jsdbeta', 'alpha', 'k'].map((id) => Live.at(`${id}-field`).hidden)"
    assert live.value(hidden) == [True, True, True, False, False]


def test_settings_that_mean_nothing_are_refused(live: Live) -> None:
    body = """Live.at("method").value = "core"; Live.at("mix").value = a; Live.at("alpha").value = 3;
        await Live.scope.draw(); return Live.at("scope-out").textContent;"""
    none = """Live.scope.listGroups(new Set()); await Live.scope.draw();
        return Live.at("scope-out").textContent;"""
    assert "convex needs α ≤ 1" in live.call(body, "convex")
    assert "L = " in live.call(body, "weighted")
    assert "Choose a group" in live.call(none)
    live.call("Live.scope.listGroups(new Set([0])); await Live.scope.draw();")


def test_hostile_text_stays_text(live: Live) -> None:
    number = "document.querySelectorAll('main *:not(button):not(.bar)').length"
    for text in HOSTILE[:: len(HOSTILE) // 6]:
        usable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")[:150]
        typed(live, usable, usable)
        live.call("await Live.scope.fresh();")
        assert live.value("window.ran || []") == []
        assert live.value(f"document.querySelectorAll({MARKUP!r}).length") == 0
    assert live.value(number) > 0
    assert all(r.startswith("file://") for r in live.browser.requests)


def test_weights_that_are_not_there_are_told(live: Live) -> None:
    body = """const [entry] = Live.world.models, known = entry.file;
        Live.received.delete(entry.name);
        entry.file = "weights/gone.js";
        const told = await Live.loaded(entry.name).catch((fault) => fault.message);
        entry.file = known;
        return told;"""
    assert "weights/gone.js are not beside this page" in live.call(body)


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_act", "gelu"), ("attention_bias", True), ("tie_word_embeddings", False)]
)
def test_a_model_of_another_form_is_refused(tmp_path: Path, key: str, value: object) -> None:
    shutil.copytree(MODELS / "student", tmp_path / "m")
    stated = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(stated | {key: value}))
    with pytest.raises(BrokenModel, match=f"{key} is .* the page computes .* alone"):
        page_config(str(tmp_path / "m"))


def test_a_tokenizer_of_another_form_is_refused() -> None:
    from artifact.actors.checkpoints import load_tokenizer

    tokenizer = load_tokenizer(str(MODELS / "student"))
    assert tokenizer_settings(tokenizer)["unknown"] == "<|unk|>"
    tokenizer.chat_template = "{{ messages }}"
    with pytest.raises(Mismatch, match=r"its chat_template is '\{\{ messages"):
        tokenizer_settings(tokenizer)


def test_folders_and_sizes_are_minded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, models = load("tiny"), {"one": MODELS / "student"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="mine is there and no live page"):
        write_live_page(tmp_path / "mine", models, models, [], config)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
    with pytest.raises(ConfigError, match="1 students and 0 teachers"):
        write_live_page(tmp_path / "page", models, {}, [], config)
    monkeypatch.setattr(live_page, "MOST_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"of 2 models has .* more than the 1,000"):
        write_live_page(tmp_path / "page", models, models, [], config)
    assert not (tmp_path / "page").exists()


def test_a_tier_without_runs_has_its_models(results: Path, tmp_path: Path) -> None:
    page = live_page.live_page_of("tiny", tmp_path / "page", "B")
    world = json.loads((page.parent / "world.js").read_text().partition("Live.world = ")[2].rstrip(";\n"))
    assert [m["label"] for m in world["models"]] == ["student, untrained", "teacher B", "teacher A"]
    assert world["groups"] == [] and len(world["problems"]) == 60
    live_page.live_page_of("tiny", tmp_path / "page")  # takes its own place


def test_stored_runs_bring_their_students_and_rollouts(
    live: Live, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are found by their keys; here the key is the name of the method, and CORE's run is not there."""
    for key in ("opd", "uopd"):
        with store.result("runs", key, load("tiny")) as out:
            shutil.copytree(MODELS / "student", out.folder / "weights")
            rollouts = [replace(r, policy_version=3) for g in live.groups for r in g.rollouts]
            (out.folder / "rollouts").mkdir()
            write_parquet(out.folder / "rollouts" / "step-000004.parquet", rollouts, Rollout)
    monkeypatch.setattr(live_page, "key_of", lambda config: config.method if config.seed == 0 else "another seed")
    page = live_page.live_page_of("tiny", tmp_path / "page")
    world = json.loads((page.parent / "world.js").read_text().partition("Live.world = ")[2].rstrip(";\n"))
    assert [m["label"] for m in world["models"]][:3] == [
        "student, untrained",
        "student, OPD (teacher A)",
        "student, UOPD (teacher A)",
    ]
    stored = {g["problem"]["id"]: g for g in world["groups"]}
    assert stored.keys() == {g.problem.id for g in live.groups}
    for g in live.groups:
        told = stored[g.problem.id]
        assert told["problem"]["answer"] == g.problem.answer
        assert [(tuple(r["ids"]), r["status"], r["step"]) for r in told["rollouts"]] == [
            (r.response_ids, str(r.verdict.status) if r.verdict else "", 3) for r in g.rollouts
        ]


def test_the_verb_writes_it(results: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["live-page", "--out", str(tmp_path / "page")])
    assert done.exit_code == 0 and done.stdout.strip() == f"page: {tmp_path / 'page' / 'index.html'}"


def test_a_drawn_problem_is_one_of_the_list(live: Live) -> None:
    live.call("await Live.ask.draw();")
    assert live.value("Live.world.problems.some((p) => p.question === Live.at('question').value)")


def test_groups_are_spread_and_mixed_ones_come_first(live: Live) -> None:
    mixed = [g for g in live.groups if g.correct and g.incorrect]
    found = spread(live.groups, 2)
    assert len(found) == 2 and found[0] in mixed
    assert len(spread(live.groups, 99)) == len(live.groups)
