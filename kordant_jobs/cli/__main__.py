"""`python -m kordant_jobs.cli`: the program that kordant_jobs.__main__ runs in the environment."""

from kordant_jobs.cli.main import main

if __name__ == "__main__":
    main()
