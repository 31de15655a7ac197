"""`python -m kordant_jobs.lab.households.fit`: weights of the certainty of streams, from seeds that are for tuning."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from kordant_jobs.domain.insights.streams import candidates, stream_features
from kordant_jobs.lab.households.generator import generate
from kordant_jobs.lab.households.judge import score_streams, streams_frame
from kordant_jobs.lab.households.written import as_written

SEEDS = range(1, 13)


def main() -> None:
    """Print the weights."""
    features, truths = [], []
    for seed in SEEDS:
        world = generate(seed)
        rows = streams_frame(as_written(world))
        found = candidates(rows)
        wrong = score_streams(world, rows, found).wrong
        features.append(found.table.select(**stream_features()).to_numpy())
        truths.append(~found.table["stream"].is_in(wrong["stream"].to_list()).to_numpy())
    fitted = LogisticRegression(C=3.0, max_iter=2000).fit(np.vstack(features), np.concatenate(truths))
    for name, weight in zip(stream_features(), fitted.coef_[0], strict=True):
        print(f'    "{name}": {weight:.2f},')  # noqa: T201 - a command
    print(f"STREAM_BIAS = {fitted.intercept_[0]:.2f}")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
