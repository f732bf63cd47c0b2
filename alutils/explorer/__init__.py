"""Look at what a finished run chose and why: in JupyterLab, or on a page of its own."""
