"""What `make` needs of the machine before it can make .venv; for the system's Python, standard library only.

    python tests/machine.py

One sentence and status 1 where the pinned packages have no builds, or where a new environment would be
without pip. On Debian the module that brings pip is a package of its own, which is installed if that needs
no password.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig

TEN_MINUTES = 600  # seconds: a download over a slow line
# torch's builds for Linux are made for this version of glibc and newer
GLIBC = (2, 28)
MACOS = 14
BUILDS = {"Linux": ("x86_64", "aarch64"), "Darwin": ("arm64",)}


def without_builds() -> str:
    """What about this Python has no builds of the pinned packages, in words; empty if nothing."""
    system, machine = platform.system(), platform.machine()
    libc, libc_version = platform.libc_ver()
    if system == "Darwin" and machine == "x86_64":
        return "macOS on x86_64 (an Intel Mac, or a Python for Intel on another)"
    if machine not in BUILDS.get(system, ()):
        return f"{system or 'this system'} on {machine or 'this processor'}"
    if sys.maxsize < 2**32:
        return "a 32-bit Python"
    if platform.python_implementation() != "CPython":
        return platform.python_implementation()
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a Python without the global interpreter lock"
    if system == "Darwin" and int(platform.mac_ver()[0].partition(".")[0]) < MACOS:
        return f"macOS {platform.mac_ver()[0]}, older than {MACOS}"
    if system == "Linux" and libc != "glibc":
        return "Linux with another C library than glibc"
    if system == "Linux" and tuple(int(part) for part in libc_version.split(".")[:2]) < GLIBC:
        return f"glibc {libc_version}, older than {'.'.join(map(str, GLIBC))}"
    return ""


def quietly(command: list[str], seconds: int, environment: dict[str, str] | None = None) -> tuple[bool, str]:
    """Whether a command succeeds within this time, with no questions asked, and what it said."""
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            env={**(environment or os.environ), "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return False, f"{command[0]} took longer than {seconds} s"
    except OSError as error:
        return False, str(error)
    return run.returncode == 0, run.stdout


def install(package: str) -> str:
    """Install one of Debian's packages, if that needs no password; why it was not, empty if it was."""
    apt = shutil.which("apt-get")
    if apt is None:
        return "there is no apt-get"
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if as_root and not quietly([*as_root, "true"], 5)[0]:
        return "apt-get needs a password"
    print(f"Installing {package} from Debian's packages", flush=True)
    # where nothing answers, apt would wait for half a minute, three times over, for each of a hundred files
    options = ["-o", "Acquire::Retries=0", "-o", "DPkg::Lock::Timeout=60"]
    options += [f"-oAcquire::{protocol}::Timeout=3" for protocol in ("http", "https")]
    _, said = quietly([*as_root, apt, "-q", *options, "update"], 120)
    if not any(line.startswith(("Hit:", "Get:")) for line in said.splitlines()):
        return "no source of packages answered"
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", apt, "-q", *options]
    done, said = quietly([*as_root, *quiet, "install", "-y", "--no-install-recommends", package], TEN_MINUTES)
    return "" if done else said.strip().rpartition("\n")[2] or "apt-get failed"


def main() -> str:
    """The sentence that says what is missing; empty if nothing is."""
    missing = without_builds()
    if missing:
        return (
            f"This book's pinned packages (torch above all) have no builds for {missing}: use Linux with "
            "glibc (on Windows in WSL), a Mac with Apple silicon, or Colab."
        )
    if importlib.util.find_spec("ensurepip") is None:
        package = "python{}.{}-venv".format(*sys.version_info)
        why = install(package)
        if why:
            return (
                "The environment could not be made: this Python is without ensurepip. On Debian and Ubuntu "
                f"'sudo apt-get install {package}' adds it; it was not installed here ({why})."
            )
    return ""


if __name__ == "__main__":
    sys.exit(main() or 0)
