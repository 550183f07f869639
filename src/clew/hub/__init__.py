"""Other programs' formats: names of tensors there, and how ours become them."""
