"""The browser page of `clew look`: it reads run folders and what `inspect/` finds in models, and trains nothing."""
