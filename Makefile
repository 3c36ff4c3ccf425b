# Everything runs from the checkout: packages in node_modules, state in out/, what is built once in ~/.cache/millrace.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.package-lock.json

.PHONY: help up down status image demo torture fuzz model mutants crds lint test test-long test-e2e test-aws bench-staging redshift-grammar

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

# Not `npm ci`: it refuses a lock file without the optional packages of other platforms, and registries that hold only
# this platform's make such lock files.
$(INSTALLED): package.json package-lock.json
	npm install --no-save --no-audit --no-fund
	@touch $@

up: $(INSTALLED) ## Start the local cluster, Kafka, and PostgreSQL primary, replica and destination
	@hack/packages.sh
	@node hack/stack.ts up

down: $(INSTALLED) ## Stop the local stack and remove what it made
	@node hack/stack.ts down

status: $(INSTALLED) ## Show what of the local stack runs, and where
	@node hack/stack.ts status

image: $(INSTALLED) ## Build the image millrace:dev, and load it into the local cluster if that runs
	@node hack/image.ts

demo: up image ## Replicate a sample database in the local stack
	@node hack/demo/demo.ts

torture: $(INSTALLED) ## Run SEEDS=n seeded schedules of writes, faults and backfills, from SEED=s on; DEST=redshift SIDE=m
	@hack/packages.sh
	@node test/torture/main.ts

fuzz: $(INSTALLED) ## Run SEEDS=n of random tables and of random DDL, from SEED=s on; KIND=schemas, KIND=ddl, TABLES=n
	@hack/packages.sh
	@node test/fuzz/main.ts

model: $(INSTALLED) ## Run SCHEDULES=n random schedules of the real workers in a simulated world, from SEED=s on
	@node test/model/main.ts $(or $(SCHEDULES),25000)

mutants: $(INSTALLED) ## Take the safeguards away, one at a time in a copy, and show which test notices; ONLY=R10 KIND=model JOBS=2
	@hack/packages.sh
	@node test/mutants/main.ts

crds: $(INSTALLED) ## Generate the custom resource definitions and the API reference
	@node crds/generate.ts

lint: $(INSTALLED) ## Check style, formatting, types and dead code
	biome check .
	tsc --noEmit
	knip

test: $(INSTALLED) ## Run every check and test; SKIP_E2E=1 leaves out what needs a cluster
	@hack/packages.sh
	@node test/run.ts

test-long: $(INSTALLED) ## Run the integration tests that take minutes each: gaps, verify, whole Pipelines into Redshift, fault runs
	@hack/packages.sh
	@LONG=1 vitest run --project integration gaps verify destination-redshift-pipeline destination-redshift-faults capture-size

test-e2e: up image ## Run the end-to-end suite alone, in the local stack, and leave it running; DEST=redshift replicates into the emulator
	@vitest run --project e2e $(ONLY)

test-aws: $(INSTALLED) ## Run the checks of the Redshift destination against a warehouse of yours; says which variables it needs
	@hack/packages.sh
	@node test/aws/main.ts

redshift-grammar: $(INSTALLED) ## Parse every statement that the tests have sent to the Redshift emulator with sqlglot
	@hack/packages.sh
	@node test/redshift-grammar/main.ts

bench-staging: $(INSTALLED) ## Measure staging of MB=617 megabytes in S3 against COPY into a file
	@hack/packages.sh
	@node test/bench/staging.ts
