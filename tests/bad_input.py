"""The one check of bad calls: a single named error that says what must be and what came instead."""

import io
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path

import pytest

Message = str | re.Pattern[str]


def refused(call: Callable[[], object], message: Message, error: type[Exception] = ValueError) -> None:
    """Assert that the call raises this error with this message: `argument must be ...; got value`.

    A text must stand in the message as it is, and begin it if it says what must be; a pattern must match.
    The error must be this one itself, not a kind of it (json and codecs raise kinds of ValueError), and must
    not show another one behind it.
    """
    with pytest.raises(error) as caught:
        call()
    raised, text = caught.value, str(caught.value)
    assert type(raised) is error
    assert raised.__suppress_context__ or raised.__context__ is None, "a second error shows behind it"
    if isinstance(message, re.Pattern):
        assert message.search(text), text
    else:  # a name with a letter too many would be found inside it
        assert text.startswith(message) if " must " in message else message in text, text
    assert re.search(r"\S must .*\S[;:] \S", text, re.DOTALL), text


def table(rows: Sequence[tuple[Callable[[], object], Message]]) -> Callable[..., None]:
    """A test of many bad calls, each with the message that names it."""

    @pytest.mark.bad_input
    @pytest.mark.parametrize(("call", "message"), rows, ids=range(len(rows)))
    def test(call: Callable[[], object], message: Message) -> None:
        refused(call, message)

    return test


def script_refused(script: str, *options: str, message: str, status: int = 2) -> None:
    """Assert that a script of this folder ends with this message on how it was called, before any work.

    It runs in this process, which has imported what the script imports already.
    """
    path, said = Path(__file__).resolve().with_name(script), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
        patch.setattr(sys, "argv", [str(path), *options])
        patch.chdir(path.parents[1])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
    code = ended.value.code
    if isinstance(code, str):  # as Python does with what sys.exit was given
        said.write(code)
        code = 1
    assert code == status, said.getvalue()
    assert message in said.getvalue()
