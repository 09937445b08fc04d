"""Makes the embedded model of testdata/model: corpus, tokenizer, training, checks, report."""
