"""Optuna's search as one more strategy: what an engineer would reach for (Akiba et al. 2019, arXiv 1907.10902)."""

import itertools
import math

from nutshell.search.space import Option
from nutshell.search.strategies import Strategy, Trial


class Tpe(Strategy):
    """Tree-structured Parzen estimators (Bergstra et al. 2011) from Optuna, asked and told like the others.

    What lies above the cap is reported as always wrong, and asked for again; after fifty times one is drawn for it. For
    a front it is given error and price as two aims, as Optuna does it.

    Parameters
    ----------
    start : int
        Networks that are drawn at random before the estimators begin.
    """

    name = "Optuna's TPE"

    def __init__(self, *arguments, start: int = 10, **options) -> None:
        super().__init__(*arguments, **options)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=self.random.randrange(2**31), n_startup_trials=start)
        self.front = isinstance(self.weight, tuple)
        up, down = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
        self.study = optuna.create_study(directions=[down, down] if self.front else [up], sampler=sampler)
        self.asked: optuna.Trial | None = None

    def ask(self) -> Trial:
        for tries in itertools.count():
            if tries == 50:
                self.study.enqueue_trial(self.anything())
            self.asked = self.study.ask()
            architecture: dict[str, Option] = {
                name: self.asked.suggest_categorical(name, options)  # type: ignore[misc]  # optuna's: also float, None
                for name, options in self.space.decisions.items()}
            if self.cap.allows(self.space, architecture):
                return Trial(architecture, self.epochs)
            self._tell(architecture, 100.0)
        raise AssertionError  # the one that is drawn lies within the cap

    def tell(self, trial: Trial, error_percent: float) -> None:
        self._tell(trial.architecture, error_percent)

    def _tell(self, architecture: dict[str, Option], error_percent: float) -> None:
        assert self.asked is not None
        score = self.taste()(architecture, error_percent)
        self.study.tell(self.asked, [error_percent, math.log(self.price(architecture))] if self.front else score)
