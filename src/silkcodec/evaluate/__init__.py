"""How good a codec sounds, measured: metrics, clips, a resumable run over both, and the table.

    clips.py    files, folders or an INDEX.tsv -> list of Clip
    metrics/    a reference wave and what a codec made of it -> numbers
    run.py      codecs x clips -> one row each (kept on disk as they come) -> result
    summary.py  rows -> means with 95 % intervals, by group, and paired differences
    report.py   result -> Markdown

Nothing is imported here: the metrics need the extra `[eval]`, and the package must load without it.
"""
