"""The page of what goes with what is what fits show."""

import pytest

from tests.support import grid


@pytest.mark.slow
def test_the_page_shows_what_fits_do():
    """Write it anew by ``python -m tests.support.grid`` where this is meant to change."""
    assert grid.PAGE.read_text(encoding="utf-8") == grid.page()
