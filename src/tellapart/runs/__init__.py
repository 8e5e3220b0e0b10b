"""Run folders on disk: store, ledger of test evaluations, environment, model card."""
