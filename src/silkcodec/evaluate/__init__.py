"""Measure and compare the quality of codecs.

    clips.py        files, folders or manifests -> list of Clip
    metrics/        reference and codec output -> metric values
    description.py  codec name -> properties and memory use, measured in a separate process
    measure.py      one codec on one clip -> one row
    workers.py      runs `measure.py` in worker processes
    stored_rows.py  stores rows on disk for later runs
    listening.py    stores audio for the players of the report
    run.py          clips and candidates -> rows -> result
    compare.py      implements `silk compare`, where the candidates are codecs
    score.py        implements `silk score`, where the candidates are folders of audio files
    codebooks.py    codes -> usage, perplexity and entropy of codebooks
    statistics.py   means and their 95 % confidence intervals
    summary.py      rows -> means by group, and paired differences
    results.py      result -> JSON
    machine.py      describes the machine and its load during a measurement
    markdown.py     numbers and tables -> Markdown
    report.py       result -> Markdown report
    html/           result -> HTML report

This module imports nothing, so that it can be imported without the `[eval]` extra.
"""
