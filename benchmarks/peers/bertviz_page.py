"""BertViz's pages of attention weights: bertviz_page.py WEIGHTS.npy FOLDER writes head_view.html and model_view.html.

WEIGHTS: (layers, heads, time, time). Prints, as JSON, the seconds that each took and the version.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from bertviz import head_view, model_view

weights = [torch.from_numpy(layer)[None].float() for layer in np.load(sys.argv[1])]
tokens, took = [f"cat{n}" for n in range(weights[0].shape[-1])], {}
for view in (head_view, model_view):
    begin = time.perf_counter()
    html = view(attention=weights, tokens=tokens, html_action="return").data
    (Path(sys.argv[2]) / f"{view.__name__}.html").write_text(f"<!doctype html><body>{html}</body>", encoding="utf-8")
    took[view.__name__] = time.perf_counter() - begin
print(json.dumps({"seconds": took, "version": version("bertviz")}))
