"""Run experiments on speech codecs, using real recordings.

Each experiment is a subcommand of `silk lab` that writes a result (JSON), a page (Markdown) and a figure.

    cli.py              defines `silk lab` and its subcommands
    command_options.py  defines options shared by the subcommands, and runs an experiment
    pages.py            writes the page and the figure of a result
    figures.py          creates Matplotlib figures and converts them to PNG
    metric_tables.py    formats metrics as table cells and tables
    selection.py        selects training clips and held-out clips
    conditions.py       records the machine, versions and system load during a measurement
    run_codec.py        wraps the model of a training run as a `Codec`
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
