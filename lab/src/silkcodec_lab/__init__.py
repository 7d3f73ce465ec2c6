"""Experiments on codecs, on real audio: each is a verb of `silk lab` that writes a JSON file, a page and a figure.

    cli.py       `silk lab`: the table of experiments
    verbs.py     options and steps that the verbs share
    pages.py     a result (JSON) -> its page: question, method, result, what would change the conclusion
    cells.py     metrics of a result as table cells and as words
    selection.py clips to train on and clips to hold out
    conditions.py  machine, versions, and other processes meanwhile
    runs.py      the model of a training run behind the Codec protocol
    chains.py    chains of codebooks and scalar grids, fitted to vectors

    lm_cost/             what a codec's tokens cost a language model
    quantization_error/  quantization error by codebook size: VQ, RVQ and FSQ at equal bits
    residual/            the residual chain at one moment of a recording
    coverage/            whether a codebook covers a language that is not in its training set
    gradient/            the straight-through estimator: predicted and actual change of the loss
    robustness/          flipped bits and lost frames
    bandwidth/           quality at fewer tokens and bits per second

Each experiment is one folder: verb.py (its options), measure.py (the measurement), page.py (page and figure), answer.py
(the answer in a sentence), its tests, and results/ (the committed JSON).
"""

__version__ = "0.1.0"
