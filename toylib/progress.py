"""The progress bar of everything that can take longer than a few seconds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def progress_bar(iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm[Any]:
    """A bar that appears after five seconds and goes when it is done; options are tqdm's, as desc and total.

    `TQDM_DISABLE=1` hides it, as when a chapter's outputs are stored or compared: whether a bar appears
    depends on the machine's speed. tqdm's own bars heed that variable in a terminal but not in a notebook.
    """
    hidden = not shown or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(iterable, delay=5, leave=False, disable=hidden, **options)
