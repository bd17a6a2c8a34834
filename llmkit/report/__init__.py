"""report.html: what a run folder says about a training, as one page that opens offline.

`reading` reads the folder, `predictions` a file of predictions, each file of `sections/` says one thing about a run, and
`page` writes them down with the templates. Knows no model, no task and no data source. Does not import torch.
"""
