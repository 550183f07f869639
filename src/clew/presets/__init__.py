"""The recipes that come with clew. `clew train` takes one by what the user's own files are."""

PRESETS: dict[str, str] = {
    "text": "words.toml",
    "pairs": "translate.toml",
    "folder": "images.toml",
    "labelled": "labelled.toml",
}
"""What files of the user's own are → their recipe."""
