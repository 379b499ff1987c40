"""quiet: pydicom is silent within a context, in its thread only."""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicube.dicom.elements.quiet import pydicom_quiet


def test_threads_do_not_disturb_each_other(caplog: pytest.LogCaptureFixture) -> None:
    """Contexts of two threads overlap, and neither outlives the other as a filter for all."""
    one, other = pydicom_quiet(), pydicom_quiet()
    log = logging.getLogger("pydicom")
    with (
        ThreadPoolExecutor(1) as first,
        ThreadPoolExecutor(1) as second,
        pytest.warns(UserWarning) as caught,
    ):
        first.submit(one.__enter__).result()
        second.submit(other.__enter__).result()
        warnings.warn("shown: no context of this thread", stacklevel=1)
        log.warning("shown")
        first.submit(one.__exit__, None, None, None).result()
        second.submit(warnings.warn, "hidden").result()
        second.submit(log.warning, "hidden").result()
        second.submit(other.__exit__, None, None, None).result()
        warnings.warn("shown: after both", stacklevel=1)
    assert [str(warning.message)[:5] for warning in caught] == ["shown", "shown"]
    assert caplog.messages == ["shown"]


def test_nested_contexts() -> None:
    with pydicom_quiet("error"):
        with pydicom_quiet():
            warnings.warn("hidden", stacklevel=1)
        with pytest.raises(UserWarning, match="raised"):
            warnings.warn("raised", stacklevel=1)
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", stacklevel=1)
