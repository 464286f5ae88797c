# Every target is one call of start.py: without make, type `python start.py lab`, and so on.
PYTHON ?= python3

.PHONY: help lab test demo setup doctor

help:  ## this list
	@echo "make lab      set up, and open JupyterLab at the course"
	@echo "make test     set up, and run the tests           (make test ARGS='-k meter')"
	@echo "make demo     set up, and run the whole round trip on made-up submissions"
	@echo "make setup    set up only"
	@echo "make doctor   say what is missing, and the command that mends it"

lab test demo setup doctor:
	@$(PYTHON) start.py $@ $(ARGS)
