//! The benches of `collect` and `score`, at a size at which they only have to be right.

use crate::support::{last_json, one_shot};

fn figures(args: &[&str]) -> serde_json::Value {
    let home = tempfile::tempdir().unwrap();
    let mut all = vec!["bench"];
    all.extend(args);
    all.extend(["--dir", home.path().to_str().unwrap()]);
    let output = one_shot(home.path(), &all);
    let figures = last_json(&output.stdout);
    assert!(output.status.success(), "{figures}: {}", String::from_utf8_lossy(&output.stderr));
    let left = std::fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 0, "the home that it made is gone");
    figures
}

#[test]
fn made_up_conversations_are_placed_as_they_were_made_up() {
    for size in ["chat", "agent"] {
        let figures = figures(&[
            "place",
            "--turns",
            "400",
            "--sessions",
            "25",
            "--size",
            size,
            "--seed",
            "7",
        ]);
        assert_eq!(figures["right"], true, "{figures}");
        assert_eq!(figures["collect"]["placed"], 400);
        assert!(figures["collect"]["retries"].as_u64() > Some(0), "{figures}");
        assert!(figures["collect"]["side"].as_u64() > Some(0), "{figures}");
        assert_eq!(figures["again_rollouts"], 0, "a second run finds nothing to do");
        assert!(figures["calibration"]["sha256_mb_s"].as_f64() > Some(0.0));
    }
}

#[test]
fn what_waits_is_judged_by_the_rules_and_by_a_model() {
    let sizes = ["judge", "--rollouts", "1500", "--segment-rollouts", "100"];
    let rules = figures(&[&sizes[..], &["--rules"]].concat());
    assert_eq!((&rules["right"], &rules["requests"]), (&true.into(), &0.into()), "{rules}");
    let model = figures(&sizes);
    assert_eq!((&model["right"], &model["segments"]), (&true.into(), &15.into()), "{model}");
    let requests = model["requests"].as_u64().unwrap();
    assert!((3_000..=4_500).contains(&requests), "two votes of three settle it: {requests}");
}

#[test]
fn every_turn_that_is_recorded_has_its_row_soon() {
    let figures = figures(&["follow", "--rate", "40", "--seconds", "2", "--sessions", "10"]);
    assert_eq!(figures["turns"], 80);
    assert_eq!(figures["collect"]["placed"], 80);
    assert_eq!(figures["collect"]["open"], 0, "closed as it was told to leave");
    assert!(figures["p95_ms"].as_f64() > Some(0.0), "{figures}");
}
