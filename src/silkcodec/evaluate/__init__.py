"""How good a codec sounds, measured: metrics, clips, a resumable run over both, and the table.

    clips.py      files, folders or manifests -> list of Clip
    metrics/      a reference wave and what a codec made of it -> numbers
    measure.py    one codec on one clip -> a row; workers.py: in processes of their own; memory.py: and its memory
    rows.py       rows on disk: what need not be measured again; listening.py: audio likewise
    run.py        candidates x clips -> rows -> result; compare.py: of codecs; score.py: of files made elsewhere
    codebooks.py  codes -> use, perplexity and entropy of codebooks
    statistics.py means and their 95 % intervals
    summary.py    rows -> means by group, and paired differences
    results.py    JSON of a result; machine.py: what it was measured on
    markdown.py   numbers and tables
    report.py     result -> Markdown; html/: -> a page

Nothing is imported here: the metrics need the extra `[eval]`, and the package must load without it.
"""
