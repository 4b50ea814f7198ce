"""What a change of digits did to the accuracies of the main studies: two whole runs of a tier beside each other.

A measure that makes a step faster may change the order of floating-point sums, and thereby the last digits of weights
and, a few times in a thousand, a token. `--before` and `--after` are the folders of tables of two runs of the same
tier, one without and one with the measure; of each row of the accuracy tables of UOPD and CORE both accuracies are
shown, and whether the later lies in the earlier's interval over problems.

    python benchmarks/changed_digits.py --what "..." --before OLD/results/tables/tiny --after results/tables/tiny
    python benchmarks/changed_digits.py --table         # what docs/speed.md shows
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from artifact.files import read_json, write_json
from measuring import report

TABLES = ("uopd_accuracy", "core_accuracy")
ROW = ["teacher", "cell", "label", "seeds", "problems"]


def rows_of(folder: Path) -> pd.DataFrame:
    """The rows of both tables, those that they share once."""
    parts = [pd.read_csv(folder / f"{name}.csv") for name in TABLES]
    return pd.concat(parts, ignore_index=True).drop_duplicates(["teacher", "cell"])[[*ROW, "accuracy", "low", "high"]]


def compared(before: Path, after: Path) -> list[dict[str, Any]]:
    """One row per method and teacher; an error where the two runs do not have the same rows."""
    joined = rows_of(before).merge(rows_of(after), on=ROW, how="outer", suffixes=("", "_after"), indicator=True)
    if not (joined["_merge"] == "both").all():
        raise SystemExit(f"the runs differ in {joined.loc[joined['_merge'] != 'both', ROW].to_dict('records')}")
    inside = (joined["low"] <= joined["accuracy_after"]) & (joined["accuracy_after"] <= joined["high"])
    return list(joined.drop(columns=["_merge", "low_after", "high_after"]).assign(inside=inside).to_dict("records"))


def table(found: dict[str, Any]) -> str:
    """The comparison as Markdown."""
    rows = found["rows"]
    same = sum(r["accuracy"] == r["accuracy_after"] for r in rows)
    inside = sum(r["inside"] for r in rows)
    lines = [
        f"{found['what']} Greedy accuracy in percent on the {rows[0]['problems']:,} problems of evaluation, means over "
        f"seeds. Of {len(rows)} rows {same} are equal to the last digit and {inside} lie in the earlier interval over "
        "problems.",
        "",
        "| teacher | method | seeds | before | 95 % interval | after | change |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        change = 100 * (r["accuracy_after"] - r["accuracy"])
        lines.append(
            f"| {r['teacher']} | {r['label']} | {r['seeds']} | {100 * r['accuracy']:.2f} | {100 * r['low']:.1f} to "
            f"{100 * r['high']:.1f} | {100 * r['accuracy_after']:.2f} | {change:+.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compare, write the file and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kept = report.FOLDER / "changed_digits.json"
    parser.add_argument("--what", help="one sentence: the measure")
    parser.add_argument("--before", type=Path, help="folder of tables of the earlier run")
    parser.add_argument("--after", type=Path, help="folder of tables of the later run")
    parser.add_argument("--out", type=Path, default=kept, help="the JSON file to write")
    parser.add_argument("--table", action="store_true", help="print what was compared last")
    arguments = parser.parse_args()
    if not arguments.table:
        if not (arguments.what and arguments.before and arguments.after):
            parser.error("--what, --before and --after are needed, or --table")
        tables = {
            side: {t: read_json(folder / f"{t}.json", "run the tier again")["checksum"] for t in TABLES}
            for side, folder in (("before", arguments.before), ("after", arguments.after))
        }
        rows = compared(arguments.before, arguments.after)
        found = {"what": arguments.what, "rows": rows, "tables": tables, "provenance": report.Provenance()()}
        write_json(arguments.out, found)
    print(table(read_json(arguments.out, "compare first")), end="")


if __name__ == "__main__":
    main()
