"""Does it learn? The experiment of docs/eval.md, in one command."""
