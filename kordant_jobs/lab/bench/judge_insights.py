"""`kordant-jobs judge-insights`: the insights on invented accounts against their truth, with floors and goals."""

from typing import Annotated, Literal

import typer

from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.lab.households.judge import judge

GOALS: dict[str, tuple[float | None, float | None, Literal["max", "min"]]] = {
    "recurring_precision": (0.95, 0.97, "min"),
    "recurring_recall": (0.9, 0.96, "min"),
    "cadence_right": (0.98, 0.995, "min"),
    "calibration_error": (0.08, 0.05, "max"),
    "price_rise_precision": (0.93, 0.95, "min"),
    "price_rise_recall": (0.6, 0.85, "min"),
    "duplicates_precision": (0.9, 0.95, "min"),
    "duplicates_recall": (0.85, 0.92, "min"),
    "duplicate_alerts_per_entity_month": (0.2, 0.15, "max"),
    "unusual_precision": (None, None, "min"),
    "unusual_recall": (0.7, 0.8, "min"),
    "unusual_false_per_entity_month": (0.1, 0.05, "max"),
    "transfers_precision": (0.99, 0.998, "min"),
    "transfers_recall": (0.97, 0.99, "min"),
    "forecast_error_to_again": (0.65, 0.5, "max"),
    "forecast_pinball_to_again": (0.65, 0.5, "max"),
    "forecast_error_to_drift": (None, None, "max"),
    "forecast_pinball_to_drift": (None, None, "max"),
    "forecast_inside_80": (0.76, 0.78, "min"),
    "forecast_inside_95": (0.93, 0.94, "min"),
    "forecast_outside_80": (0.14, 0.18, "min"),
    "forecast_outside_95": (0.03, 0.04, "min"),
    "forecast_pairs": (None, None, "min"),
    "cash_flow_months_right": (None, None, "min"),
    "categories_right": (None, None, "min"),
}
"""Floor and goal of each figure (contract of the finance jobs, 3.3), and which side of it is better."""


def judge_command(
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds.")] = 10,
    first: Annotated[
        int, typer.Option(help="The first seed; under 1000 they are those that rules were tuned on.")
    ] = 2001,
    entities: Annotated[int, typer.Option(min=10, help="Entities of a world.")] = 150,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Judge the insights on invented accounts whose names, styles and parameters no rule has seen. A figure is the mean
    over the seeds; the worst seed stands beside it. Exit code 0 when every floor is held."""

    def measure() -> list[Figure]:
        worlds = [judge(seed, entities) for seed in range(first, first + seeds)]
        figures = []
        for key, (floor, goal, direction) in GOALS.items():
            values = [one[key] for one in worlds]
            mean = sum(values) / len(values)
            worst = min(values) if direction == "min" else max(values)
            figures.append(
                Figure(
                    key=key,
                    value=mean,
                    unit="",
                    goal=floor,
                    direction=direction,
                    peer=f"goal {goal}, worst seed",
                    peer_value=worst,
                )
            )
        return figures

    raise SystemExit(finish("insights", measure, as_json=as_json))
