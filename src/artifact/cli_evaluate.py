"""The verbs that measure a model and read what was measured: `artifact evaluate`, `artifact transcripts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from artifact.cli_options import Force, Sets, Tier, console, names, overrides

Ks = Annotated[
    str | None, typer.Option("--k", metavar="K[,K]", help="k of pass@k and maj@k; default: powers of two up to N")
]
Protocols = Annotated[
    str | None, typer.Option("--protocol", metavar="NAME[,NAME]", help="greedy, avg16 (T = 1.2, top-p 0.95), avgN")
]
Benchmarks = Annotated[
    str | None, typer.Option("--benchmark", metavar="NAME[,NAME]", help="see --list; default: the tier's final splits")
]


def evaluate(
    model: Annotated[str | None, typer.Option("--model", help="model folder, run folder, or hub id")] = None,
    benchmark: Benchmarks = None,
    tier: Tier = "tiny",
    split: Annotated[str | None, typer.Option("--split", help="default: the benchmark's main split")] = None,
    protocol: Protocols = None,
    k: Ks = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="only so many problems")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="folder with data files, looked in first")] = None,
    template: Annotated[str | None, typer.Option("--template", help="prompt template: a name or a .txt file")] = None,
    max_new_tokens: Annotated[int | None, typer.Option("--max-new-tokens", min=1, help="budget of a response")] = None,
    graders: Annotated[bool, typer.Option("--graders", help="judge by every grader, list disagreements")] = False,
    export: Annotated[str | None, typer.Option("--export", metavar="lm-eval", help="also for another tool")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder of the tables, else results/benchmarks/…")] = None,
    list_: Annotated[bool, typer.Option("--list", help="list the benchmarks and stop")] = False,
    sets: Sets = None,
    force: Force = False,
) -> None:
    """Evaluate a model on benchmarks: pass@1, avg@N, pass@k, maj@k with intervals; every response is stored."""
    from artifact.config import ConfigError, load

    changes = overrides(sets)
    config = load(tier, changes)
    if list_:
        from artifact.report.protocol import print_benchmarks

        print_benchmarks(console(), data_dir)
        return
    if model is None:
        raise ConfigError("--model is missing: name a model folder, a run's folder or a hub id")
    if export not in (None, "lm-eval"):
        raise ConfigError(f"--export {export!r}: the only other form is lm-eval (lm-evaluation-harness)")
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder for the tables")
    from artifact.studies.benchmark_jobs import parse_ks, protocols_for
    from artifact.studies.benchmark_results import write_report
    from artifact.studies.benchmarking import evaluate_model

    protocols = protocols_for(config, names(protocol))
    ks = parse_ks(names(k), protocols)
    infos = evaluate_model(
        model, names(benchmark), tier=tier, split=split, protocols=[p.name for p in protocols], data_dir=data_dir,
        template=template, limit=limit, max_new_tokens=max_new_tokens, overrides=changes, force=force,
    )  # fmt: skip
    written = write_report(infos, out, ks, graders=graders, lm_eval_files=export is not None)
    for text in written.shown:
        console().print(text, markup=False, highlight=False)
    for info in infos:
        typer.echo(f"responses: {info.folder} (artifact transcripts {info.key})")
    for path in written.paths:
        typer.echo(f"written: {path}")


def transcripts(
    folder: Annotated[str, typer.Argument(help="folder or key of a run or evaluation")],
    tier: Tier = "tiny",
    problem: Annotated[str | None, typer.Option("--problem", help="only this problem, by id")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="only responses that were not judged correct")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="at most so many responses")] = 20,
    what: Annotated[
        Literal["evaluation", "curve", "rollouts"], typer.Option("--what", help="final evaluation, curve or training")
    ] = "evaluation",
    sets: Sets = None,
) -> None:
    """Show stored responses: question, gold answer, response, what was extracted, verdict."""
    from artifact.config import load

    load(tier, overrides(sets))
    from rich.console import Console

    from artifact.report.transcripts import print_transcripts
    from artifact.studies.results import transcripts as read

    frame = read(folder, what, problem=problem, wrong=wrong)
    print_transcripts(frame.head(limit), Console())  # not `console()`: a panel wraps its text itself
    typer.echo(f"{min(limit, len(frame))} of {len(frame)} responses")
