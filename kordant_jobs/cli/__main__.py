"""python -m kordant_jobs.cli: where kordant_jobs.__main__ hands over to."""

from kordant_jobs.cli.main import main

if __name__ == "__main__":
    main()
