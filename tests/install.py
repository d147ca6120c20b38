"""pip for `make`: it installs into this environment, whatever else the reader's settings would have it do.

    python tests/install.py "PIP_INDEX_URL PIP_PROXY ..." ARGUMENTS OF pip install

The first argument names the settings that are kept, as environment variables; the Makefile has the list. They
hold for the reader's configuration files too, which pip has no way to read in part: what is kept of them is
handed over in the environment, and the files are not read again.
"""

import ast
import os
import subprocess
import sys


def from_files(listing: str) -> dict[str, str]:
    """The settings that `pip config list` shows, as environment variables: {"PIP_INDEX_URL": "https://..."}.

    A setting of `pip install` wins over one of all commands, and an environment variable over both.
    """
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.partition(".")
        if section in found and value:
            found[section]["PIP_" + setting.replace("-", "_").upper()] = ast.literal_eval(value)
    return found["global"] | found["install"] | found[":env:"]


def environment(kept: str) -> dict[str, str]:
    """The environment in which pip follows the kept settings and no others."""
    # options of `pip config` too: with `user = true` in a file it would list the user's file alone
    plain = {
        f"PIP_{option}": "0"
        for option in ("USER", "GLOBAL", "SITE", "QUIET", "VERBOSE", "REQUIRE_VIRTUALENV")
    }
    pip = [sys.executable, "-m", "pip", "config", "list"]
    run = subprocess.run(pip, env=os.environ | plain, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    settings = {name: value for name, value in from_files(run.stdout).items() if name in kept.split()}
    others = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    own = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return others | settings | own


def main(kept: str, *arguments: str) -> int:
    """Run `pip install` and return its status."""
    return subprocess.call([sys.executable, "-m", "pip", "install", *arguments], env=environment(kept))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
