"""Run experiments on speech codecs with real audio.

Each experiment is a subcommand of `silk lab` that writes a result (JSON), a page and a figure.

    cli.py              `silk lab` and its subcommands
    command_options.py  options that the subcommands share, and the steps of every run
    pages.py            writes a result (JSON) as a page: question, method, result, limitations, reproduction
    figures.py          creates Matplotlib figures and converts them to PNG
    metric_tables.py    formats metrics of a result as table cells and sentences
    selection.py        selects clips for training and held-out clips
    conditions.py       machine, versions and load during a measurement
    run_codec.py        wraps the model of a training run as a `Codec`
    chains.py           fits residual codebooks and scalar grids to vectors

    lm_cost/             cost of a codec's tokens for a language model
    quantization_error/  quantization error of VQ, RVQ and FSQ by codebook size, at equal bits
    residual/            error after each codebook of a residual quantizer, at one moment of a recording
    coverage/            coverage of a language that is not in the training set of a codebook
    gradient/            predicted and actual change of the loss with the straight-through estimator
    robustness/          effect of bit errors and lost frames
    bandwidth/           quality with fewer tokens and bits per second

Each experiment is a folder with command.py (options), experiment.py (measurement), page.py (page and figure), answer.py
(a summary in one or two sentences), tests, and results/ (the committed JSON).
"""

__version__ = "0.1.0"
