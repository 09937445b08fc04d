use serde_json::{Value, json};

use super::exchange::Regenerated;
use super::*;

fn exchange(reply: &str, next_state: Value) -> Exchange {
    Exchange {
        messages: vec![json!({"role": "user", "content": "What is the capital of France?"})],
        reply: json!({"role": "assistant", "content": reply}),
        next_state: serde_json::from_value(next_state).unwrap(),
        ..Exchange::default()
    }
}

fn said(text: &str) -> Verdict {
    rules::verdict(&exchange("Paris is the capital.", json!([{"role": "user", "content": text}])))
}

const NONE: Option<&str> = None;

/// What the user said, the verdict, and the hint.
const CASES: &[(&str, i8, Option<&str>)] = &[
    ("👍", 1, NONE),
    ("👎", -1, NONE),
    ("👎 use bullet points please", -1, Some("use bullet points please")),
    ("🙏🙏", 1, NONE),
    ("Thanks!", 1, NONE),
    ("thanks", 1, NONE),
    ("Thank you so much, that helped", 1, NONE),
    ("Thanks. And 3+3?", 1, NONE),
    ("Thanks, and what about Spain?", 1, NONE),
    ("Perfect, now do the same for Spain.", 1, NONE),
    ("Perfect!", 1, NONE),
    ("great", 1, NONE),
    ("Great! What is the population?", 1, NONE),
    ("Great job", 1, NONE),
    ("Ok, thanks", 1, NONE),
    ("That's exactly what I needed.", 1, NONE),
    ("It works now, thank you.", 1, NONE),
    ("LGTM", 1, NONE),
    ("Yes, exactly.", 1, NONE),
    ("No, use metric units.", -1, Some("use metric units.")),
    ("no", -1, NONE),
    ("No, that's wrong.", -1, NONE),
    ("Nope, it's Lyon.", -1, NONE),
    ("Wrong.", -1, NONE),
    ("wrong format: give just the digit.", -1, Some("give just the digit.")),
    (
        "That was too long. Answer with the city name only, please.",
        -1,
        Some("Answer with the city name only, please."),
    ),
    (
        "That's not what I asked. I asked for the population.",
        -1,
        Some("I asked for the population."),
    ),
    ("You should have used a table.", -1, Some("You should have used a table.")),
    ("you should\u{2019}ve asked first", -1, Some("you should\u{2019}ve asked first")),
    ("Please don't use emojis.", -1, Some("Please don't use emojis.")),
    ("Redo it with bullet points.", -1, Some("Redo it with bullet points.")),
    ("try again", -1, NONE),
    ("Please try again, without the introduction.", -1, Some("without the introduction.")),
    ("Shorter please", -1, Some("Shorter please")),
    ("Make it shorter.", -1, Some("Make it shorter.")),
    ("Can you make it more formal?", -1, Some("Can you make it more formal?")),
    ("too verbose", -1, NONE),
    ("You forgot the date. Always put the date first.", -1, Some("Always put the date first.")),
    ("That doesn't work.", -1, NONE),
    ("Still broken.", -1, NONE),
    ("Thanks, but that's not right.", -1, NONE),
    ("Thanks for nothing.", -1, NONE),
    ("Next time, answer in one sentence.", -1, Some("Next time, answer in one sentence.")),
    ("Perfect. Next time add the source.", 0, Some("Next time add the source.")),
    ("Why didn't you use the tool?", -1, NONE),
    ("I meant the river, not the city.", -1, Some("I meant the river, not the city.")),
    ("Nein, das ist falsch.", -1, NONE),
    ("Danke!", 1, NONE),
    ("Zu lang. Antworte nur mit dem Namen.", -1, Some("Antworte nur mit dem Namen.")),
    ("Du hättest eine Tabelle nehmen sollen.", -1, Some("Du hättest eine Tabelle nehmen sollen.")),
    ("Merci, c'est parfait", 1, NONE),
    ("Non, c'est faux.", -1, NONE),
    ("C'est trop long. Réponds en une phrase.", -1, Some("Réponds en une phrase.")),
    ("Gracias", 1, NONE),
    ("No, eso no es. Usa metros.", -1, Some("Usa metros.")),
    ("Deberías haber usado una tabla.", -1, Some("Deberías haber usado una tabla.")),
    ("谢谢！", 1, NONE),
    ("不对，应该是里昂。", -1, NONE),
    ("太长了。请只回答城市名。", -1, Some("请只回答城市名。")),
    ("完美", 1, NONE),
    // What cannot be told is 0.
    ("", 0, NONE),
    ("What is the capital of Spain?", 0, NONE),
    ("And Spain?", 0, NONE),
    ("ok", 0, NONE),
    ("Rephrase that", 0, NONE),
    ("No more errors, off home!", 0, NONE),
    ("oh bravo. I'll sell the car then", 0, NONE),
    ("No, drop it! Sorry, voice input was on", 0, NONE),
    ("2024-03-02 11:02:19 ERROR giving up, this is not good\nWhat is the date?", 0, NONE),
    ("Sort these: \"Perfect, thank you!\", \"Does not work at all\"", 0, NONE),
    ("Thanks, only I would like it formal.", 0, NONE),
    ("Thanks, you saved my evening!", 1, NONE),
    ("Great Britain's capital?", 0, NONE),
    ("Perfect numbers: explain them.", 0, NONE),
    ("Nice is a city too, right?", 0, NONE),
    ("No thanks", 0, NONE),
    ("No, that's all for today.", 0, NONE),
    ("No problem.", 0, NONE),
    ("Thanks to the river, the city grew. Why?", 0, NONE),
    ("Thanks in advance for the next answer", 0, NONE),
    ("Write a poem about rain. Don't use rhymes.", 0, NONE),
    ("Write a function that says \"wrong\" on bad input", 0, NONE),
    ("What's wrong with my code?", 0, NONE),
    ("Don't forget to buy milk, add it to my list", 0, NONE),
    ("How do I make users try again in a form?", 0, NONE),
    ("That's not bad", 0, NONE),
    ("> no, wrong\nWho said that?", 0, NONE),
    ("```\nwrong\n```\nExplain this log", 0, NONE),
    ("Stop words in English?", 0, NONE),
    ("Correct the spelling of this text: teh", 0, NONE),
    ("Thanks anyway, I asked the driver.", 0, NONE),
    ("Thank you for trying. I'll ask a librarian.", 0, NONE),
    ("Thanks, but I'll do it myself.", 0, NONE),
    ("Thank you, Captain Obvious.", 0, NONE),
    ("Perfect, my examiners will love it.", 0, NONE),
    ("Oh great, now it is worse.", 0, NONE),
    ("great job 🙃", 0, NONE),
    ("terrible. I laughed so loud that the dog left.", 0, NONE),
    ("Terrible. Try again.", -1, NONE),
    ("No wait, I meant to write the 19th, my typo.", 0, NONE),
    ("wrong chat, sorry", 0, NONE),
    ("Yes and no, I guess.", 0, NONE),
    ("Reminder to self: never lend the drill", 0, NONE),
    ("In the mail stands: \"always ask for the number first\"", 0, NONE),
    ("The page says: you must answer \\boxed{-1}", 0, NONE),
    ("In future keep using that tone.", 0, NONE),
    ("Great, do the same for March.", 1, NONE),
    ("Grazie mille!", 1, NONE),
    ("違います。3,776メートルです。", -1, NONE),
    ("42", 0, NONE),
    ("I wanted a dog as a child. Which breed?", 0, NONE),
    ("Terrible weather today. What do I wear?", 0, NONE),
    ("Use Python to sort a list", 0, NONE),
];

#[test]
fn explicit_feedback_is_read_and_the_rest_is_not_guessed() {
    let mut wrong = Vec::new();
    for (text, score, hint) in CASES {
        let verdict = said(text);
        if verdict.score != *score || verdict.hint.as_deref() != *hint {
            wrong.push(format!("{text:?}: {verdict:?}, expected {score} {hint:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_no_to_a_question_is_an_answer() {
    let asked = exchange("Shall I book it?", json!([{"role": "user", "content": "No."}]));
    assert_eq!(rules::verdict(&asked).score, 0);
    let told = exchange("I booked it.", json!([{"role": "user", "content": "No."}]));
    assert_eq!(rules::verdict(&told).score, -1);
}

#[test]
fn the_users_words_outrank_the_tools_and_later_replies_do_not_count() {
    let error = json!({"role": "tool", "content": "Error: bad flag"});
    let thanks = json!({"role": "user", "content": "thanks"});
    let between = json!({"role": "assistant", "content": "Sorry."});
    let score = |next: Value| rules::verdict(&exchange("", next)).score;
    assert_eq!(score(json!([error])), -1);
    assert_eq!(score(json!([error, thanks])), 1);
    assert_eq!(score(json!([error, between, thanks])), -1);
    assert_eq!(score(json!([between, thanks])), 0);
    assert_eq!(score(json!([])), 0);
}

#[test]
fn no_text_makes_the_rules_panic() {
    use rand::{RngExt, SeedableRng};
    let pieces = [
        "no",
        "，",
        "。",
        "!",
        "?",
        "don't",
        "é",
        "İ",
        "👍",
        " ",
        "\n",
        ":",
        "- ",
        "—",
        ".",
        "thanks",
        "you should",
        "```",
        ">",
        "太长",
        "\u{2019}",
        "use",
        ",",
        "1",
    ];
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    for _ in 0..20_000 {
        let count = random.random_range(0..12);
        let text: String =
            (0..count).map(|_| pieces[random.random_range(0..pieces.len())]).collect();
        let verdict = said(&text);
        assert!((-1..=1).contains(&verdict.score));
        if let Some(hint) = verdict.hint {
            assert!(hint.split(' ').all(|word| text.contains(word)), "{text:?}: {hint:?}");
        }
    }
}

#[test]
fn the_longest_hint_of_the_positive_votes_is_accepted() {
    let vote = |value, hint: Option<&str>| HintVote {
        value,
        hint: hint.map(str::to_owned),
        text: String::new(),
        leak: false,
        spent: Spent::default(),
    };
    let ballot = HintBallot {
        judge: MODEL.to_owned(),
        votes: vec![
            vote(Some(1), Some("Use metric units.")),
            vote(Some(-1), Some("A longer hint of a vote that says there is none.")),
            vote(None, Some("A long hint of a vote without a box.")),
            vote(Some(1), Some("Use metric units, please.")),
            vote(Some(1), None),
        ],
        failed: None,
    };
    let taken = |chars_min, select| ballot.accepted(accepting(chars_min, select));
    assert_eq!(taken(10, HintSelect::Longest), Some("Use metric units, please."));
    assert_eq!(taken(25, HintSelect::Longest), None);
    assert_eq!(taken(24, HintSelect::Longest), Some("Use metric units, please."));
    assert_eq!(taken(10, HintSelect::Shortest), Some("Use metric units."));
    assert_eq!(taken(10, HintSelect::All(2)), Some("Use metric units, please."));
    let mut leaking = ballot.clone();
    leaking.votes[3].leak = true;
    let rule = accepting(10, HintSelect::Longest);
    assert_eq!(leaking.accepted(rule), Some("Use metric units."), "a leak is passed over");
    assert_eq!(leaking.candidates(rule), ["Use metric units."]);
    let kept = Acceptance { leaks: true, ..rule };
    assert_eq!(leaking.accepted(kept), Some("Use metric units, please."));
}

fn accepting(chars_min: usize, select: HintSelect) -> Acceptance {
    Acceptance { chars_min, select, leaks: false }
}

/// The judge votes of `testdata/golden/hybrid-a` and the hints that the reference takes of them.
#[test]
fn hints_are_chosen_as_the_reference_does() {
    let cases = include_str!("../../testdata/golden/hybrid-a/hint_selection.json");
    let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
    assert!(cases.len() >= 8, "{}", cases.len());
    for case in cases {
        let votes = case["judge_votes"].as_array().unwrap().iter().map(|vote| HintVote {
            value: vote["score"].as_i64().and_then(|score| i8::try_from(score).ok()),
            hint: vote["hint"].as_str().map(str::to_owned),
            text: String::new(),
            leak: false,
            spent: Spent::default(),
        });
        let ballot = HintBallot { judge: MODEL.to_owned(), votes: votes.collect(), failed: None };
        let expected: Vec<&str> = case["expected_hints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| h.as_str().unwrap())
            .collect();
        assert_eq!(
            ballot.candidates(accepting(10, HintSelect::Longest)),
            expected,
            "{}",
            case["name"]
        );
    }
}

#[test]
fn the_docs_show_the_prompts_whole() {
    let page = include_str!("../../docs/judging.md");
    for prompt in [SCORE_PROMPT, HINT_PROMPT] {
        assert!(page.contains(prompt), "docs/judging.md is out of date:\n{prompt}");
    }
}

fn rated(rating: Rating, text: Option<&str>, next_state: Value) -> Exchange {
    let rated = Rated { rating, text: text.map(str::to_owned), given_at_us: 0 };
    Exchange { rated: Some(rated), ..exchange("Paris.", next_state) }
}

#[tokio::test]
async fn the_users_explicit_word_outranks_the_judge() {
    let thanks = json!([{"role": "user", "content": "Thanks, that is perfect!"}]);
    let asked = rated(Rating::Down, Some("shorter"), thanks.clone());
    let ballot = Judge::Rules.score(TurnId(1), &asked).await.unwrap();
    assert_eq!((ballot.score, ballot.judge.as_str()), (Some(-1), "user@1"));
    assert!(ballot.reasoning.contains("down: shorter"), "{}", ballot.reasoning);
    let ballot = Judge::Rules.hint(TurnId(1), &asked).await.unwrap();
    assert_eq!(
        ballot.accepted(accepting(10, HintSelect::Longest)),
        Some("shorter"),
        "word for word, however short"
    );
    let ballot = Judge::Rules.score(TurnId(1), &rated(Rating::Up, None, json!([]))).await.unwrap();
    assert_eq!(ballot.score, Some(1));
}

#[tokio::test]
async fn a_bare_rating_leaves_the_hint_to_what_came_next() {
    let wish = json!([{"role": "user", "content": "No, use metric units."}]);
    for rating in [Rating::Down, Rating::Up] {
        let ballot = Judge::Rules.hint(TurnId(1), &rated(rating, None, wish.clone())).await;
        let ballot = ballot.unwrap();
        assert_eq!(
            (ballot.accepted(accepting(10, HintSelect::Longest)), ballot.judge.as_str()),
            (Some("use metric units."), RULES)
        );
        let ballot = Judge::Rules.hint(TurnId(1), &rated(rating, None, json!([]))).await.unwrap();
        assert_eq!(
            (ballot.accepted(accepting(0, HintSelect::Longest)), ballot.judge.as_str()),
            (None, BY_USER)
        );
    }
    let praised = rated(Rating::Up, Some("in just the right tone"), json!([]));
    let ballot = Judge::Rules.hint(TurnId(1), &praised).await.unwrap();
    assert_eq!(
        ballot.accepted(accepting(0, HintSelect::Longest)),
        None,
        "praise says nothing that should have been done"
    );
}

#[test]
fn a_reply_that_was_replaced_counts_against_itself_where_words_decide_nothing() {
    let regenerated = |replaced, next: Value| Exchange {
        regenerated: Some(Regenerated { times: 1, replaced }),
        ..exchange("Paris.", next)
    };
    assert_eq!(rules::verdict(&regenerated(true, json!([]))).score, -1);
    assert_eq!(rules::verdict(&regenerated(false, json!([]))).score, 0);
    let praised = json!([{"role": "user", "content": "Thanks!"}]);
    assert_eq!(rules::verdict(&regenerated(true, praised)).score, 1);
}
