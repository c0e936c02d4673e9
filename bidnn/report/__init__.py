"""The page at the end of a run: facts from a run's folder, its model and its rows, and a drawing.

`folder` reads what a run left, `rows` samples its rows, `embedded`, `translation` and `closeness`
measure, `advice` says what helps, `comparison` sets runs side by side; each gives plain data, which
`page` puts into one HTML file that needs no network.
"""
