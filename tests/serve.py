"""The built site on localhost: `make serve` runs this.

python tests/serve.py PORT [--try]
"""

import functools
import http.server
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"


def main(port: str, only: str = "") -> str:
    """Serve until Ctrl-C; a sentence if that port can't be had, else empty. Port 0 is any that is free.

    only: "--try" to say whether it can be had, before there is anything to serve.
    """
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(SITE))
    try:
        if int(port) > 65535:
            raise ValueError
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), handler)
    except ValueError:
        return f"PORT must be a whole number up to 65535; got {port!r}"
    except PermissionError:
        return f"PORT must be 1024 or more for those who are not root; got {port}"
    except OSError:
        return f"PORT must be one that nothing else listens on; got {port}: make serve PORT=8001, for one"
    with server:
        if only:
            return ""
        print(f"Serving the book at http://localhost:{server.server_port}/ (stop with Ctrl-C)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
