"""The API on the bench's system: it also offers the job whose op writes down its clock. `python -m … PORT`."""

import sys

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.cli.api import serve
from kordant_jobs.lab.bench.app import STAMP

if __name__ == "__main__":
    BY_NAME[STAMP.name] = STAMP
    serve(port=int(sys.argv[1]), worker=1, workers=1)
