"""Public checks of this lab, made by ``nutshell release``. Hidden ones run at grading."""


