"""Measure the quality of codecs: metrics, clips, resumable runs, and reports.

    clips.py      files, folders or manifests -> list of Clip
    metrics/      a reference wave and the output of a codec -> numbers
    measure.py    one codec on one clip -> one row; workers.py: in worker processes; description.py: a codec
    stored_rows.py  rows on disk, reused by later runs; listening.py: the same for audio
    run.py        candidates x clips -> rows -> result; compare.py: for codecs; score.py: for existing files
    codebooks.py  codes -> use, perplexity and entropy of codebooks
    statistics.py means and their 95 % intervals
    summary.py    rows -> means by group, and paired differences
    results.py    JSON of a result; machine.py: the machine of a measurement
    markdown.py   numbers and tables as Markdown
    report.py     result -> Markdown; html/: result -> HTML page

This module imports nothing, because the metrics need the extra `[eval]` and the package must load without it.
"""
