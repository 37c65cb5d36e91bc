# `make env` needs a Python 3.11, 3.12 or 3.13 with pip, and nothing else: it makes .tools and .venv.
# Name another Python with PYTHON=/path/to/python. All paths here are relative, so that the clone may
# stand in a folder with spaces in its name.

SHELL := /bin/sh
# Airflow is slow to start when nothing it imports may be byte-compiled.
unexport PYTHONDONTWRITEBYTECODE
export PYTHON

IN_VENV := .venv/bin/python
SUITES := $(IN_VENV) -m tests.support.suites

.PHONY: help env demo demo-stop demo-oss demo-oss-stop clean lint format test test-fast test-integration test-fault \
	test-e2e test-kill test-wheel demo-parity bench-oss bench-memory bench-throttle bench-transfer \
	kill-rounds soak matrix compose-check mwaa-kit mwaa-check mwaa-laptop release changelog audit docs \
	docs-links

help:
	@echo 'make env            make or renew the environment (.tools, .venv)'
	@echo 'make demo           two S3 servers and an Airflow with the example DAGs (DEMO_PORT, default 8080)'
	@echo 'make demo-stop      stop them'
	@echo 'make demo-oss       a test server of Alibaba Cloud OSS, an S3 server and an Airflow that migrates;'
	@echo '                    both demos stay up until Ctrl-C with KEEP=1'
	@echo 'make demo-oss-stop  stop them'
	@echo 'make demo-parity    what older tools are used for, case by case, read back by other tools (minutes;'
	@echo '                    CASES="oss keys" plays those whose title has one of the words)'
	@echo 'make lint           ruff, mypy and the import contracts'
	@echo 'make test-fast      lint and the tests that need nothing but Python'
	@echo 'make test           everything; single suites: make test-integration, test-fault, test-e2e,'
	@echo '                    test-kill, test-wheel, matrix'
	@echo 'make bench-oss      CPU of reads from OSS, beside a bare urllib3 (minutes; wants an idle machine)'
	@echo 'make bench-memory   peak memory of tasks at the highest concurrency (an hour; BENCH="--quick" for minutes)'
	@echo 'make bench-throttle copies from and to a service that takes N requests a second (minutes)'
	@echo 'make bench-transfer copies beside rclone, boto3 and a C relay (80 minutes, idle machine; wants gcc, libssl-dev;'
	@echo '                    BENCH="--quick", BENCH="--only CASE", BENCH="--report")'
	@echo 'make matrix         the wheel beside the pins of MWAA and the newest Airflow (minutes; wants Python 3.11,'
	@echo '                    3.12 and 3.13; MATRIX="3.0.6" plays cells with that in their name, MATRIX=--write'
	@echo '                    writes docs/compatibility.md, which has to be what the cells say)'
	@echo 'make compose-check  what docker-compose.yaml says, started without containers, and a sync on it (a minute)'
	@echo 'make mwaa-kit       what an environment of Amazon MWAA is given, in mwaa-kit; docs/mwaa.md says what to do'
	@echo '                    with it (KIT="--help" lists the options)'
	@echo 'make mwaa-check     use the kit as MWAA does: its pins, Celery, Secrets Manager (minutes; wants PostgreSQL,'
	@echo '                    Redis, Python 3.12)'
	@echo 'make mwaa-laptop    the same with nothing but Python'
	@echo 'make kill-rounds    kill workers in the middle of syncs, ROUNDS times (5); SEED=N plays one again'
	@echo 'make soak           the same for MINUTES (60), then the totals'
	@echo 'make release        wheel, source distribution, bill of materials, notes and their sums in dist/, each checked'
	@echo '                    (RELEASE=--final refuses a tree that is not that of a tag)'
	@echo 'make changelog      put the fragments in changes/ into CHANGELOG.md (CHANGELOG=--draft only shows it)'
	@echo 'make audit          known vulnerabilities of the locked packages, if the package index tells any'
	@echo 'make docs           the site of the documentation, in .state/docs/html; warnings are errors'
	@echo 'make docs-links     ask every host that the documentation links to (wants a network)'
	@echo 'make clean          remove all that the other targets made'

env:
	@python="$$(sh tests/support/find-python)" && "$$python" tests/support/bootstrap.py env

demo: env
	@$(IN_VENV) -m tests.support.demo run

demo-stop: env
	@$(IN_VENV) -m tests.support.demo stop

demo-oss: env
	@$(IN_VENV) -m tests.support.demo_oss run

demo-oss-stop: env
	@$(IN_VENV) -m tests.support.demo_oss stop

demo-parity: env
	@$(IN_VENV) -m tests.support.parity $(CASES)

clean:
	@if [ -x $(IN_VENV) ] && [ -e .state/demo ]; then $(IN_VENV) -m tests.support.demo stop; fi
	@if [ -x $(IN_VENV) ] && [ -e .state/demo-oss ]; then $(IN_VENV) -m tests.support.demo_oss stop; fi
	@python="$$(sh tests/support/find-python)" && "$$python" tests/support/bootstrap.py clean

lint: env
	@$(SUITES) lint

format: env
	@.venv/bin/python -m ruff format .
	@.venv/bin/python -m ruff check --fix .

test-fast: env
	@$(SUITES) lint fast

test: env
	@$(SUITES) lint docs fast integration fault e2e kill wheel matrix mwaa

test-integration test-fault test-e2e test-kill test-wheel: test-%: env
	@$(SUITES) $*

bench-oss: env
	@$(IN_VENV) -m benchmarks.oss_read

bench-memory: env
	@$(IN_VENV) -m benchmarks.memory $(BENCH)

bench-throttle: env
	@$(IN_VENV) -m benchmarks.throttled

bench-transfer: env
	@$(IN_VENV) -m benchmarks.transfer $(BENCH)

kill-rounds: env
	@$(IN_VENV) -m tests.support.kill_rounds $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

soak: env
	@$(IN_VENV) -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

matrix: env
	@$(IN_VENV) -m tests.matrix $(MATRIX)

compose-check: env
	@$(IN_VENV) -m tests.support.compose_local

mwaa-kit: env
	@$(IN_VENV) -m deploy.mwaa $(KIT)

mwaa-check: env
	@$(IN_VENV) -m tests.mwaa celery

mwaa-laptop: env
	@$(IN_VENV) -m tests.mwaa local

release: env
	@$(IN_VENV) -m tests.release files $(RELEASE)

changelog: env
	@$(IN_VENV) -m tests.release changelog $(CHANGELOG)

audit: env
	@$(IN_VENV) -m tests.release audit $(AUDIT)

docs: env
	@$(SUITES) docs
	@echo 'The site is .state/docs/html/index.html'

docs-links: env
	@$(IN_VENV) -m sphinx -c docs -d .state/docs/doctrees --quiet -b linkcheck . .state/docs/links
