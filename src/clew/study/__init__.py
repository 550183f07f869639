"""Studies: several trainings under equal budgets, and what they show.

`make_plan` → `compare` (a generator: trains, resumes) → `write_report` (from the run folders alone).
"""
