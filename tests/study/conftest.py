"""Recipes of these tests name the fakes as `study_fakes:…`, as a user's recipe names a module of his own."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
