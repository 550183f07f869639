"""The pages that the browser's tests open, and a tab that remembers what went wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
PAGES = {
    "runs": ("Runs", "#/runs?run=lstm&run=transformer"),
    "curves": ("Curves", "#/curves?run=lstm&run=transformer&y=train+loss&smooth=0.5"),
    "attention": ("Attention", "#/attention?run=transformer&text=the+cat+sleeps+."),
    "bert": ("Attention", "#/attention?run=bert&text=the+cat+%5BMASK%5D+on+the+mat+.&layer=1&head=1&form=arcs"),
    "gpt": ("Attention", "#/attention?run=gpt&text=the+cat+sat&layer=1&head=1"),
    "t5": ("Attention", "#/attention?run=t5&text=the+%3Cextra_id_0%3E+sat+.&target=%3Cextra_id_0%3E+cat&layer=2"),
    "before": ("Attention", "#/attention?run=transformer&text=the+cat+sleeps+.&minus=step%3A2&layer=2"),
    "lstm": ("Attention", "#/attention?run=lstm&minus=transformer&text=the+cat+sleeps+."),
    "walk": ("Walk-through", "#/walk?run=transformer&text=the+cat+sleeps+.&step=4"),
    "backward": ("Walk-through", "#/walk?run=bert&text=the+cat+sat&walk=backward%3Aencoder&step=5"),
    "time": ("Walk-through", "#/walk?run=lstm&text=the+cat+sat+down&walk=bptt%3A&path=3%2C1"),
    "play": ("Playground", "#/play?run=transformer&run=lstm&text=the+cat+sleeps+."),
    "write": ("Playground", "#/play?run=gpt&text=the+cat&length=12&top_k=5"),
    "gaps": ("Playground", "#/play?run=t5&text=the+%3Cextra_id_0%3E+sat+."),
    "project": ("Projector", "#/project?run=words&colour=count&find=cat"),
    "compare": ("Compare", "#/compare?run=lstm&run=transformer&text=the+cat+sleeps+."),
}
# What a page shows when it has loaded.
READY = {
    "Runs": "tbody tr", "Curves": ".plot canvas", "Attention": ".heads canvas", "Walk-through": "math",
    "Playground": ".answers .panel", "Projector": "#near-title", "Compare": "#examples-title",
}  # fmt: skip


class Tab:
    """A page that remembers what went wrong, and every request that went elsewhere."""

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.base, self.wrong = address.partition("?")[0], list[str]()
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | settings)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.check(request.url))
        self.page.goto(address)
        self.page.get_by_role("heading", level=1).wait_for()

    def check(self, url: str) -> None:
        if not url.startswith((self.base, "data:", "blob:" + self.base)):
            self.wrong.append(f"request: {url}")

    def open(self, name: str) -> Any:
        label, hash = PAGES[name]
        self.page.goto(self.base + hash)
        self.page.reload()
        self.page.locator(READY[label]).first.wait_for(timeout=60_000)
        return self.page

    def close(self) -> None:
        self.context.close()
        # A software renderer complains that it is slow when its picture is taken.
        assert [line for line in self.wrong if "GPU stall" not in line] == []
