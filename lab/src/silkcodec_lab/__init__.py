"""The experiments behind the claims, on real audio: each is a command of `silk lab`, a JSON file and a page.

    cli.py              `silk lab`: one verb an experiment
    runs.py             a training run's model behind the Codec protocol
    page.py             a result (JSON) -> its page: question, method, result, what would change the conclusion
    cells.py            metrics as cells of a table and as words
    burden.py           what a codec's tokens cost a language model
      burden_layout.py    what follows from the shape of their frames alone
      burden_model.py     the tiny language model, the same for every codec
      burden_page.py      its page and its figure
    snap.py             what does snapping to a codebook cost, by its size?
      snap_fit.py         chains of codebooks and grids, fitted to vectors that are given
      snap_page.py        its page and its figure
    residual.py         the residual chain at one moment; residual_page.py: its page and its figure
    coverage.py         does a codebook cover a language that it never heard?
      coverage_speech.py  speech -> speakers and their vectors
      coverage_fit.py     VQ, RVQ and the scalar grid at equal bits: fitted once, measured on others
      coverage_sounds.py  which tone, Arabic sound and pitch a vector holds, and which of them fall far
      coverage_rebuilt.py what is heard of it; griffin_lim.py: mel -> a wave without a model
      coverage_intervals.py  means over speakers and their bootstrap
      coverage_page.py    its page, with coverage_about.py and coverage_sounds_page.py
      coverage_figure.py  its figure, with coverage_sounds_figure.py
    gradient.py         the straight-through estimator: promise against effect; and what it does to training
      gradient_measure.py  promises, effects, figures over clips; gradient_model.py: a run's model and the steps in it
      gradient_training.py  curves, use of codes, tiny models; gradient_page.py and gradient_figure.py: its page
    robustness.py       what flipped bits and lost frames do to the speech
      robustness_damage.py  the damage, and what is put in its place; robustness_page.py: its page and its figure
    bandwidth.py        quality against tokens and bits per second, of every codec with fewer and fewer codebooks
      bandwidth_measure.py  the work of a clip, in processes; bandwidth_page.py, bandwidth_figure.py: page, figure

Nothing is imported here: the experiments need the extra `[lab]`, and the package must load without it.
"""
