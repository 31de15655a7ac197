"""The progress bar of long commands."""

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from kordant_jobs.cli.output import err


def progress_bar() -> Progress:
    """A bar on standard error; nothing where that is not a terminal."""
    return Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        disable=not err.is_terminal,
    )
