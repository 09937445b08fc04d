"""Measures a judge on labelled cases; `scripts/judge_eval` runs it."""
