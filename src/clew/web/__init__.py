"""The browser page of `clew look`: it reads run folders and what `inspect/` finds in their models, and trains nothing."""
