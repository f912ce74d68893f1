"""What a flow run does when somebody has cancelled it in the Prefect UI, which sends its process a signal."""

from __future__ import annotations

from typing import Any, cast

import pytest

from eventmill.prefect_api import ui_controls
from eventmill.prefect_api.ui_controls import UiControls


class Watched(UiControls):
    """Counts how often it asks Prefect."""

    looks = 0

    def _look(self) -> None:
        self.looks += 1


@pytest.mark.parametrize(
    ("error", "interrupted", "looks"),
    [
        (None, False, 0),
        (KeyboardInterrupt(), True, 1),
        (RuntimeError("of a library"), False, 0),
        # the signal came in the middle of a library's call
        (RuntimeError("of a library"), True, 1),
    ],
)
def test_the_reason_of_a_signal_is_asked_for(
    error: BaseException | None, interrupted: bool, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the signal became on its way: a run that was cancelled must not be begun again by `rescue`."""
    monkeypatch.setattr(ui_controls, "is_interrupted", lambda: interrupted)
    controls = Watched(cast(Any, None))
    if error is None:
        with controls:
            pass
    else:
        with pytest.raises(type(error)), controls:
            raise error
    assert controls.looks == looks
