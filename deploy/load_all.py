"""Import every module of ours in the image, and the programs that it starts: they leave their bytecode beside them.

Run in the build, in /opt/kordant. The root file system is read-only later, so that what is not compiled now never is.
"""

import importlib
import pkgutil

import botocore.session

import kordant_jobs

PROGRAMS = (
    "dagster_webserver.cli",
    "dagster._grpc.server",
    "dagster._daemon.cli",
    "celery.concurrency.thread",
    "s3fs",
)
AWS = ("s3", "sts", "sso", "sso-oidc")
"""The services whose descriptions are in the image."""
LATER = "kordant_jobs.adapters.voice.models.graph"
"""Needs the extra `voice`, which is not in the image."""

for found in pkgutil.walk_packages(kordant_jobs.__path__, "kordant_jobs."):
    if found.name != LATER and ".migrations" not in found.name and not found.name.endswith("__main__"):
        importlib.import_module(found.name)
for name in PROGRAMS:
    importlib.import_module(name)
for name in AWS:
    botocore.session.get_session().create_client(name, region_name="sa-east-1")
