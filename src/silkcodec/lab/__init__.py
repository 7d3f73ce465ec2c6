"""The experiments behind the claims, on real audio: each is a command of `silk lab`, a JSON file and a page.

    cli.py              `silk lab`: one verb an experiment
    page.py             a result (JSON) -> its page: question, method, result, what would change the conclusion
    burden.py           what a codec's tokens cost a language model
      burden_layout.py    Tokens -> frames of tokens, and what follows from their shape alone
      burden_model.py     the tiny language model, the same for every codec
      burden_page.py      its page and its figure

Nothing is imported here: the experiments need the extra `[lab]`, and the package must load without it.
"""
