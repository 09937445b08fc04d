"""The one command: tokenizer, training, checkpoint, checks, figures. See --help."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from . import agent, checkpoint, corpus, encode, evaluate, report, train, verify, words
from .model import Decoder, Shape
from .voice import Voice

STAGES = ("tokenizer", "train", "verify", "evaluate", "report")


def corpus_texts(seed: int, conversations: int):
    """What the tokenizer learns from, beside the agent prompts: the words of conversations."""
    voice = Voice(seed)
    for _ in range(conversations):
        for message in corpus.sample(voice).messages:
            yield f"{message['role']}\n{message['content'] or ''}\n"


def make_tokenizer(recipe, shape, out: Path) -> None:
    """Trains the tokenizer and writes it."""
    def texts():
        yield from agent.tokenizer_texts(recipe.seed, 3_000_000)
        yield from corpus_texts(recipe.seed, 6000)
    out.mkdir(parents=True, exist_ok=True)
    words.train(texts(), shape.vocab).save(str(out / "tokenizer.json"))


def make_weights(recipe, shape, out: Path, work: Path) -> None:
    """Trains the decoder and writes the checkpoint; the loss curve goes to the work folder."""
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    torch.set_num_threads(recipe.threads)
    decoder = Decoder(shape, recipe.seed)
    curve = train.run(
        decoder, Voice(recipe.seed), encode.Marker(tokenizer), recipe,
        say=lambda line: print(line, flush=True),
        keep=lambda: checkpoint.write(work / "unfinished", decoder, tokenizer))
    checkpoint.write(out, decoder, tokenizer)
    made = {"recipe": asdict(recipe), "shape": asdict(shape), "curve": curve}
    (work / "training.json").write_text(json.dumps(made, indent=1))


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="make-model", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for curves and figures")
    parser.add_argument("--card", type=Path, required=True, help="the Markdown page to write")
    parser.add_argument("--tokens", type=int, default=train.Recipe.tokens,
                        help="tokens to train on (default %(default)s)")
    parser.add_argument("--seed", type=int, default=train.Recipe.seed)
    parser.add_argument("--threads", type=int, default=train.Recipe.threads,
                        help="1 is repeatable and, on a busy machine, the fastest")
    parser.add_argument("--only", nargs="*", choices=STAGES, default=STAGES,
                        help="run these stages only, on what is there")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    recipe = replace(train.Recipe(), tokens=args.tokens, seed=args.seed, threads=args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    for stage in args.only:
        print(f"== {stage}", flush=True)
        if stage == "tokenizer":
            make_tokenizer(recipe, Shape(), args.out)
        elif stage == "train":
            make_weights(recipe, Shape(), args.out, args.work)
        elif stage == "verify":
            verify.run(args.out)
        elif stage == "evaluate":
            figures = evaluate.run(args.out, recipe.threads)
            (args.work / "figures.json").write_text(json.dumps(figures, indent=1))
        else:
            report.write(args.card, args.work, args.out)


if __name__ == "__main__":
    main()
