"""Named cases of what may happen on the chain, each with its one verdict, and the stages they play on."""

import pytest

# What a case expects and what it found are shown by pytest, as in any test.
pytest.register_assert_rewrite("tests.cases.play")
