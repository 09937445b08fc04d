//! The command line: what is wrong is named, with a hint and the right exit code, and the
//! reference in docs/ is what the program says.

use crate::support::{command, one_shot};

fn refused(args: &[&str]) -> (Option<i32>, String) {
    let home = tempfile::tempdir().unwrap();
    let output = one_shot(home.path(), args);
    assert!(output.stdout.is_empty(), "stdout is for data: {output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn wrong_commands_exit_with_2_and_name_the_thing() {
    let table: &[(&[&str], &str)] = &[
        (&["serve", "--prot", "1"], "--prot"),
        (&["serve", "--port", "70000"], "70000"),
        (&["serve", "--top-p", "1.5"], "top_p"),
        (&["serve", "--host", "0.0.0.0"], "api_key_file"),
        (&["serve", "--model", "/no/such/model"], "/no/such/model"),
        (&["serve", "--do-not-train", "@"], "do_not_train"),
        (&["serve", "--port", "0", "--do-not-train", "@/no/such/list"], "/no/such/list"),
        (&["run", "--do-not-train", ""], "do_not_train"),
        (&["collect", "--follow", "--close-all"], "--close-all"),
        (&["score", "--judge", "nonsense"], "nonsense"),
        (&["score", "--judge", "base"], "is for `run`"),
        (&["hint", "--judge", "base"], "is for `run`"),
        (&["run", "--judge", "bass"], "`base`, `rules`"),
        (&["run", "--port", "0", "--judge-device", "gpu"], "cuda:N"),
        (&["serve", "--port", "0", "--version", "7"], "7"),
        (&["score", "--votes", "0"], "votes"),
        (&["hint", "--teacher", "localhost"], "teacher"),
        (&["train", "--method", "magic"], "magic"),
        (&["train", "--batch-size", "0"], "batch_size"),
        (&["deploy", "--follow", "--version", "1"], "--version"),
        (&["run", "--exit-after-steps", "0"], "exit_after_steps"),
        (&["collect", "--config", "/no/such/file.toml"], "/no/such/file.toml"),
        (&["collect", "--log", "a=b=c"], "log"),
        (&["store", "show", "not-a-turn"], "not-a-turn"),
        (&["frobnicate"], "frobnicate"),
    ];
    for (args, named) in table {
        let (code, stderr) = refused(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(named), "{args:?} does not name `{named}`: {stderr}");
    }
}

#[test]
fn a_wrong_configuration_file_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let table = [
        ("[serve\n", "config.toml"),
        ("[serve]\nprot = 1\n", "prot"),
        ("[sevre]\nport = 1\n", "sevre"),
        ("[serve]\nversion = 0\n", "the loop serves the live version"),
        ("[train]\nbatch_size = \"many\"\n", "many"),
        ("[score]\njudge = \"somebody\"\n", "somebody"),
        ("[deploy]\ntries = 0\n", "tries"),
    ];
    for (text, named) in table {
        let file = dir.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let output = one_shot(dir.path(), &["run", "--config", file.to_str().unwrap()]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}: {stderr}");
        assert!(stderr.contains(named), "{text} does not name `{named}`: {stderr}");
    }
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("occupied");
    std::fs::write(&file, "not a directory").unwrap();
    for stage in ["collect", "score", "train", "run"] {
        let mut args = vec![stage];
        if stage == "run" {
            args.extend(["--port", "0", "--judge", "rules"]);
        }
        let output = command(&file.join("home"), &args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "{stage}");
        assert!(stderr.contains("occupied") && stderr.contains("hint:"), "{stage}: {stderr}");
    }
}

#[test]
fn dry_run_prints_values_with_their_origins_and_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "[train]\nepochs = 4\n").unwrap();
    let home = dir.path().join("home");
    let args = ["train", "--dry-run", "--batch-size", "8", "--config", file.to_str().unwrap()];
    let output = command(&home, &args).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    for line in
        ["[train]", "batch_size = 8  # flag", "epochs = 4  # file", "beta1 = 0.9  # default"]
    {
        assert!(stdout.lines().any(|got| got == line), "`{line}` is missing:\n{stdout}");
    }
    assert!(!home.exists(), "a dry run leaves nothing behind");
    toml::from_str::<toml::Table>(&stdout).expect("what is printed is a configuration file");
}

#[test]
fn docs_cli_is_what_the_program_says() {
    let pages = [
        vec![],
        vec!["run"],
        vec!["serve"],
        vec!["collect"],
        vec!["score"],
        vec!["hint"],
        vec!["train"],
        vec!["deploy"],
        vec!["store"],
        vec!["store", "ls"],
        vec!["store", "show"],
        vec!["store", "verify"],
        vec!["bench", "speed"],
        vec!["bench", "parity"],
        vec!["bench", "place"],
        vec!["bench", "follow"],
    ];
    let mut text = String::from(
        "# Command line\n\nMade from the program's own `--help` by `OPENCLAW_RL_REWRITE=1 cargo \
         test docs_cli`.\n",
    );
    for page in pages {
        let mut args = page.clone();
        args.push("--help");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_openclaw-rl"))
            .args(&args)
            .env_clear()
            .env("COLUMNS", "96")
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let name = page.join(" ");
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let title = format!("openclaw-rl {name}");
        text += &format!("\n## `{}`\n\n```\n{}\n```\n", title.trim_end(), help.join("\n"));
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
    if std::env::var_os("OPENCLAW_RL_REWRITE").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), text, "run it with OPENCLAW_RL_REWRITE=1");
}
