"""What the records' commands read from Debian's packages: fetched by apt, unpacked without root."""

import shutil
import subprocess
from pathlib import Path


def fetched(package: str, folder: Path, what: str) -> Path:
    """The folder of a package's files, downloaded and unpacked unless it is there; what: what needs it.

    Raises: RuntimeError where apt and dpkg are missing or find nothing, with the command.
    """
    target, draft = folder / package, folder / f"{package}.new"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "download", package]
    shutil.rmtree(draft, ignore_errors=True)
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        (file,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", file.name, draft.name], cwd=folder, check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()[-200:]
        raise RuntimeError(
            f"{what} need Debian's package {package}: run {' '.join(command)} in {folder}, after "
            f"apt-get update if it is not found ({said})"
        ) from None
    file.unlink()
    draft.rename(target)
    return target
