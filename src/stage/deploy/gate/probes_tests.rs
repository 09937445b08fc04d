use super::*;

fn renderer() -> Renderer {
    Renderer::open(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/model").as_ref()).unwrap()
}

fn says(text: &str) -> Reply {
    Reply { content: text.to_owned(), ids: vec![1, 2, 3], ..Reply::default() }
}

fn check(json: &str) -> Check {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_programs_own_probes_are_many_and_of_every_kind() {
    let probes = all(usize::MAX, None).unwrap();
    assert!(probes.len() >= 40, "{}", probes.len());
    let names: BTreeSet<&str> = probes.iter().map(|probe| probe.id.as_str()).collect();
    assert_eq!(names.len(), probes.len());
    let renderer = renderer();
    for probe in &probes {
        assert!(renderer.prompt(&probe.messages, probe.tools.as_ref()).is_ok(), "{}", probe.id);
        if let Check::ToolCall { name, .. } = &probe.check {
            assert!(probe.tools.as_ref().unwrap().to_string().contains(name), "{}", probe.id);
        }
    }
    let tools = probes.iter().filter(|probe| probe.tools.is_some()).count();
    let numbers = probes.iter().filter(|probe| matches!(probe.check, Check::Number(_))).count();
    assert!(tools >= 8 && numbers >= 10, "{tools} {numbers}");
}

#[test]
fn a_reply_is_checked_as_its_probe_says() {
    let renderer = renderer();
    for (told, right, wrong) in [
        (r#"{"equals": "blue"}"#, vec!["blue", " blue.\n"], vec!["Blue", "it is blue", ""]),
        (r#"{"contains": "main.rs"}"#, vec!["main.rs", "open `main.rs`!"], vec!["main"]),
        (
            r#"{"number": 1234}"#,
            vec!["1234", "It is 1,234.", "6 * 7 is 42, no: 1234.0"],
            vec!["1234 or 7", "none", "12345", "-1234"],
        ),
        (r#"{"number": -7}"#, vec!["-7", "3 - 10 = -7."], vec!["7", "10-"]),
        (r#"{"regex": "[a-c]+[0-9]?"}"#, vec!["abba", "c3"], vec!["abd", "a33", ""]),
    ] {
        let check = check(told);
        for text in right {
            assert!(says(text).solves(&check, &renderer), "{told} {text}");
        }
        for text in wrong {
            assert!(!says(text).solves(&check, &renderer), "{told} {text}");
        }
    }
    let call = check(r#"{"tool_call": {"name": "read", "arguments": {"path": "a.txt"}}}"#);
    let calls = |name: &str, arguments: &str| Reply {
        calls: vec![(name.to_owned(), arguments.to_owned())],
        ..Reply::default()
    };
    assert!(calls("read", r#"{"path": "a.txt", "lines": 3}"#).solves(&call, &renderer));
    for (name, arguments) in [
        ("read", r#"{"path": "b.txt"}"#),
        ("write", r#"{"path": "a.txt"}"#),
        ("read", r#"{"path": "a.txt""#),
        ("read", "{}"),
    ] {
        assert!(!calls(name, arguments).solves(&call, &renderer), "{name} {arguments}");
    }
}

#[test]
fn empty_endless_and_looping_replies_are_degenerate() {
    assert!(!says("yes").is_degenerate());
    assert!(says("").is_degenerate());
    assert!(Reply { cut_off: true, ..says("and") }.is_degenerate());
    let looping = |ids: Vec<u32>| Reply { ids, ..says("ha") }.is_degenerate();
    assert!(looping([vec![9, 8], vec![5; 16]].concat()));
    assert!(looping([vec![9, 8], [1, 2, 3, 4, 5].repeat(4)].concat()));
    assert!(!looping([1, 2, 3].repeat(3)));
    assert!(!looping((0..90).collect()));
    assert!(!looping(vec![5; 8]), "eight dashes are a line, not a loop");
}

#[test]
fn only_a_significant_loss_is_held_against_a_version() {
    let probes: Vec<Probe> = all(usize::MAX, None).unwrap();
    let replies = |solved: usize, broken: usize| -> Vec<Reply> {
        let reply = |at: usize| Reply {
            solved: at < solved,
            ids: vec![1],
            content: if at < broken { String::new() } else { "x".to_owned() },
            ..Reply::default()
        };
        (0..probes.len()).map(reply).collect()
    };
    let refusal = |live: [usize; 2], own: [usize; 2]| {
        let [live, own] = [live, own].map(|[solved, broken]| replies(solved, broken));
        compare(&probes, &live, &own).refusal()
    };
    assert_eq!(refusal([0, 0], [0, 0]), None, "who knows nothing forgets nothing");
    assert_eq!(refusal([30, 2], [24, 2]), None);
    assert!(refusal([30, 2], [23, 2]).unwrap().contains("solves 23 of"));
    assert_eq!(refusal([23, 9], [30, 2]), None);
    assert!(refusal([30, 2], [30, 9]).unwrap().contains("empty, cut off or looping"));
    assert_eq!(refusal([30, 30], [30, 30]), None, "a babbling model may babble on");
}

#[test]
fn a_file_of_probes_is_checked_and_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let line =
        r#"{"id": "mine", "messages": [{"role": "user", "content": "?"}], "check": {"number": 1}}"#;
    std::fs::write(file.path(), format!("{line}\n\n")).unwrap();
    assert_eq!(all(10, Some(file.path())).unwrap().len(), 11);
    assert_eq!(all(0, Some(file.path())).unwrap().len(), 1);
    for (text, said) in [
        (format!("{line}\n{line}"), "twice"),
        (line.replace("number", "sum"), "line 1"),
        ("{".to_owned(), "line 1"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let error = all(3, Some(file.path())).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
