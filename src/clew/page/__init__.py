"""The browser page: the built front-end, and `single_file`, which puts a view and its data into one HTML file."""
