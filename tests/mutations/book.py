"""Mutants of how a series of notebooks is run: its forecast, its queue, its kernels."""

from __future__ import annotations

from tests.mutations.mutant import Mutant

FORECAST = ("book/test_forecast.py",)
KERNELS = ("book/test_kernels.py",)

MUTANTS = (
    Mutant(
        "forecast: the machine's speed is left aside",
        "book/forecast.py",
        "return taken / expected if expected > 0 and taken > 0 else 0.0",
        "return 0.0",
        FORECAST,
    ),
    Mutant(
        "forecast: the runs that were trained tell nothing",
        "book/forecast.py",
        "if trained.runs > ENOUGH_RUNS else 0.0",
        "if False else 0.0",
        FORECAST,
    ),
    Mutant(
        "forecast: runs are trained only when their notebook begins",
        "book/forecast.py",
        "done_at = max(done_at, trained_at if cost.runs else 0.0)",
        "done_at = done_at + (trained_at if cost.runs else 0.0)",
        FORECAST,
    ),
    Mutant(
        "forecast: a notebook that waits for runs is overdue",
        "book/forecast.py",
        "if running is not None and not running.cost.runs:",
        "if running is not None:",
        FORECAST,
    ),
    Mutant(
        "progress: a run told twice counts twice",
        "book/progress.py",
        "self._trained.setdefault(found[1], self._clock())",
        "self._trained[str(len(self._trained))] = self._clock()",
        ("book/test_progress.py::test_runs_of_the_queue_count_before_their_notebook_begins",),
    ),
    Mutant(
        "progress: waiting for runs is a notebook's own time",
        "book/progress.py",
        "max(0.0, taken - waited_s)",
        "taken",
        ("book/test_progress.py::test_the_time_a_notebook_waited_is_not_its_own",),
    ),
    Mutant(
        "a series goes on without its runs",
        "book/progress.py",
        "if queue is not None and (reason := queue.failure()):",
        "if reason := '':",
        ("book/test_progress.py::test_a_series_stops_where_its_runs_cannot_be_trained",),
    ),
    Mutant(
        "the queue outlives a series that was killed",
        "book/background.py",
        "    os._exit(1)",
        "    pass",
        ("book/test_background.py::test_a_series_that_is_killed_leaves_none",),
    ),
    Mutant(
        "a run counts for every notebook that shows it",
        "book/needs.py",
        "        before = len(known)\n",
        "        before = 0\n",
        ("book/test_needs.py::test_a_run_counts_for_the_first_notebook_that_shows_it",),
    ),
    Mutant(
        "kernels: pandas is imported before there is a notebook",
        "book/kernel_server.py",
        '"pyarrow.parquet"',
        '"pandas"',
        KERNELS,
    ),
    Mutant(
        "kernels: the backend is imported before there is a notebook",
        "book/kernel_server.py",
        '"pyarrow.parquet"',
        '"matplotlib_inline.backend_inline"',
        KERNELS,
    ),
    Mutant("kernels: in the series' own session", "book/kernel_server.py", "    os.setsid()", "    pass", KERNELS),
    Mutant(
        "kernels: the server's own code is the notebook's",
        "book/kernel_server.py",
        "        del sys.modules[own]\n",
        "        pass\n",
        KERNELS,
    ),
    Mutant("kernels: in the server's folder", "book/kernel_server.py", "    os.chdir(folder)\n", "", KERNELS),
    Mutant("kernels: they outlive the server", "book/kernel_server.py", ", parent_handle=os.getppid()", "", KERNELS),
    Mutant(
        "kernels: the server lies in the first notebook's folder", "book/kernels.py", 'cwd="/"', "cwd=None", KERNELS
    ),
    Mutant("kernels: a dead server is asked again", "book/kernels.py", "_server.cache_clear()", "pass", KERNELS),
)
