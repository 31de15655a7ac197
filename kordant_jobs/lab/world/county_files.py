"""An invented county as a county publishes it: a CSV a day or year for the drop folder, and its description."""

import csv
from collections.abc import Iterable
from pathlib import Path

from kordant_jobs.adapters.counties.description import County as Description
from kordant_jobs.adapters.counties.description import read_county
from kordant_jobs.lab.world.county import County, Record

NAME = "lab-county"
DESCRIPTION = f"""
id: {NAME}
name: An invented county
driver: files
parcel: bbl
name_order: surname_first
people: 10000
latency_days: 4000
capabilities: [deed, lien]
recorder_url: https://recorder.example/{{key}}
tables:
  instruments:
    dataset: "*.csv"
    columns:
      key: document
      code: type
      recorded_on: recorded
      executed_on: executed
      amount: price
      parcel: {{of: [parcels], split: ";"}}
      givers: {{of: [from], split: ";"}}
      takers: {{of: [to], split: ";"}}
      refers_to: {{of: [refers], split: ";"}}
"""


def description() -> Description:
    """The county's file."""
    return read_county(DESCRIPTION, NAME)


def write_csv(county: County, records: Iterable[Record], path: Path) -> None:
    """One file of these records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["document", "type", "recorded", "executed", "price", "parcels", "from", "to", "refers"]
    beside = path.with_suffix(".tmp")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for one in records:
            lots = ";".join(map(county.parcel, one.lots))
            days = one.recorded_on.isoformat(), one.executed_on.isoformat()
            sides = ";".join(one.givers), ";".join(one.takers), ";".join(one.refers_to)
            writer.writerow([one.key, one.code, *days, one.amount, lots, *sides])
    beside.replace(path)
