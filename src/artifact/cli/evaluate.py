"""The verbs that measure a model and read what was measured: `artifact evaluate`, `artifact transcripts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from artifact.cli.options import Force, Sets, Tier, console, names, overrides

Ks = Annotated[
    str | None,
    typer.Option("--k", metavar="K[,K]", help="k of pass@k, maj@k; default: N, and in the CSV 2, 4, 8 … as well"),
]
Protocols = Annotated[
    str | None,
    typer.Option("--protocol", metavar="NAME[,NAME]", help="greedy, or avgN for N samples per problem: avg16"),
]
Benchmarks = Annotated[
    str | None, typer.Option("--benchmark", metavar="NAME[,NAME]", help="see --list; default: the tier's final splits")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="so many problems; default: all, or what the tier says for its own task"),
]
Budget = Annotated[
    int | None,
    typer.Option("--max-new-tokens", min=1, help="default: the tier's; at least 512 off the tier's own task"),
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", help="of avgN; default: the tier's, else 1.2 as in the papers")
]
TopP = Annotated[float | None, typer.Option("--top-p", help="of avgN; default: the tier's, else 0.95 as in the papers")]
Prompts = Annotated[
    Literal["chat", "plain"], typer.Option("--prompt", help="by the model's chat template, or plain text (base models)")
]
What = Annotated[
    Literal["evaluation", "curve", "rollouts", "samples", "greedy"] | None,
    typer.Option("--what", help="part of the result: default the first of these that it holds"),
]


def evaluate(
    model: Annotated[str | None, typer.Option("--model", help="model folder, run folder, or hub id")] = None,
    benchmark: Benchmarks = None,
    tier: Tier = "tiny",
    split: Annotated[str | None, typer.Option("--split", help="default: the benchmark's main split")] = None,
    protocol: Protocols = None,
    k: Ks = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    limit: Limit = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="folder with data files, looked in first")] = None,
    template: Annotated[str | None, typer.Option("--template", help="prompt template: a name or a .txt file")] = None,
    prompt: Prompts = "chat",
    max_new_tokens: Budget = None,
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
        from artifact.studies.benchmark_targets import benchmark_list

        print_benchmarks(benchmark_list(data_dir), console())
        return
    if model is None:
        raise ConfigError("--model is missing: name a model folder, a run's folder or a hub id")
    if export not in (None, "lm-eval"):
        raise ConfigError(f"--export {export!r}: the only other form is lm-eval (lm-evaluation-harness)")
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder for the tables")
    from artifact.studies.benchmark_jobs import parse_ks, protocols_for
    from artifact.studies.benchmark_results import check_report_folder, write_report
    from artifact.studies.benchmarking import evaluate_model

    if out is not None:
        check_report_folder(out)
    protocols = protocols_for(config, names(protocol), temperature, top_p)
    ks = parse_ks(names(k), protocols)
    infos = evaluate_model(
        model,
        names(benchmark),
        tier=tier,
        split=split,
        protocols=[p.name for p in protocols],
        data_dir=data_dir,
        template=template,
        limit=limit,
        max_new_tokens=max_new_tokens,
        prompt=prompt,
        temperature=temperature,
        top_p=top_p,
        overrides=changes,
        force=force,
    )
    written = write_report(infos, out, ks, graders=graders, lm_eval_files=export is not None)
    for text in written.shown:
        console().print(text, markup=False, highlight=False)
    for info in infos:
        typer.echo(f"responses: {info.folder} (artifact transcripts {info.key})")
    for path in written.paths:
        typer.echo(f"written: {path}")


def transcripts(
    folder: Annotated[str, typer.Argument(help="folder or key of a run, evaluation, annotation, …")],
    problem: Annotated[str | None, typer.Option("--problem", help="only this problem, by id")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="only responses that were not judged correct")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="at most so many responses")] = 20,
    what: What = None,
) -> None:
    """Show stored responses: question, gold answer, response, what was extracted, verdict."""
    from rich.console import Console

    from artifact.report.transcripts import print_transcripts
    from artifact.studies.results import transcripts as read

    frame = read(folder, what, problem=problem, wrong=wrong)
    print_transcripts(frame.head(limit), Console())  # not `console()`: a panel wraps its text itself
    typer.echo(f"{min(limit, len(frame))} of {len(frame)} responses")
