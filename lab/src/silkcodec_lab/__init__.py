"""Run experiments on speech codecs, using real recordings.

Each experiment is a subcommand of `silk lab` that writes a result (JSON), a page (Markdown) and a figure.

    cli.py              defines `silk lab` and its subcommands
    command_options.py  defines options shared by the subcommands, and runs an experiment
    pages.py            writes the page and the figure of a result
    figures.py          creates Matplotlib figures, draws intervals, and converts figures to PNG
    metric_tables.py    formats metrics as table cells and tables
    selection.py        selects training clips and held-out clips, and reads recordings
    scores.py           collects metrics for each test condition and clip
    conditions.py       records the machine, versions and system load during a measurement
    run_codec.py        wraps the model of a training run as a `Codec`, and loads codecs
    chains.py           fits residual codebooks and scalar grids to vectors

    lm_cost/             cost of a codec's tokens for a language model
    quantization_error/  quantization error of VQ, RVQ and FSQ with the same number of bits
    residual/            error after each codebook of a residual quantizer
    coverage/            coverage of languages that are not in the training set of a codebook
    gradient/            accuracy of the straight-through gradient
    robustness/          effect of bit errors and lost frames on quality
    bandwidth/           effect of lower token and bit rates on quality

Each experiment is a folder with command.py (options), experiment.py (measurement), page.py (page and figure), answer.py
(short summary), tests, and results/ (committed JSON).
"""

__version__ = "0.2.0"
