"""Coverage-guided fuzzing of the ``.nut`` reader with atheris.

    python -m tests.fuzz.fuzz_artefact                       until interrupted
    python -m tests.fuzz.fuzz_artefact -max_total_time=120   two minutes

Every input must be read as a network that runs, or be refused with what and where; anything else stops the run and
leaves the input in a file ``crash-…``. Add it to ``tests/nutshell/test_artefact_hostile.py`` once it is understood.
Arguments are those of libFuzzer. Needs the extra ``fuzz``: ``pip install -e '.[fuzz]'``.
"""

import sys


def main() -> None:
    """Instrument the reader, then hand it one input after another."""
    import atheris  # here, since the tests are collected without it

    with atheris.instrument_imports(include=["nutshell.artefact"]):
        from nutshell.artefact import container
        from tests.fuzz import mutations

    seeds = [mutations.split(data) for data in mutations.seeds()]

    def one_input(data: bytes) -> None:
        """Turn the fuzzer's bytes into a file in one of five ways, and read it."""
        provider = atheris.FuzzedDataProvider(data)
        header, payloads = seeds[provider.ConsumeIntInRange(0, len(seeds) - 1)]
        way = provider.ConsumeIntInRange(0, 4)
        if way == 0:
            mutations.verdict(provider.ConsumeBytes(len(data)))
        elif way == 1:
            text = provider.ConsumeBytes(len(data))
            mutations.verdict(container.seal(container.deflate(text), payloads))
        elif way == 4:
            mutations.verdict(mutations.join(header, mutations.damaged(payloads, provider.ConsumeBytes(len(data)))))
        else:
            times = provider.ConsumeIntInRange(1, 8)
            changed = mutations.mutated(header, lambda n: provider.ConsumeIntInRange(0, n - 1), times)
            if way == 3:
                payloads = provider.ConsumeBytes(64) + payloads[provider.ConsumeIntInRange(0, len(payloads)) :]
            mutations.verdict(mutations.join(changed, payloads))

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
