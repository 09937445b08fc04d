//! Why nothing can be learned from what arrives, and what to change.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::rollout::{Ledger, Rejection, TurnId, TurnKind, TurnState};

/// So many requests in a row that cannot teach are worth a word.
const REQUESTS_MIN: usize = 10;
/// Requests that are looked at, newest first.
const REQUESTS_MAX: usize = 100;
/// Microseconds after which a reply that nothing followed counts as one that nothing follows.
const LONELY_US: i64 = 60_000_000;
/// Rules of placed turns that are remembered.
const RULES_MAX: usize = 4 * REQUESTS_MAX;

/// Nothing of what arrived last can be trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// How many of the last requests, in a row, cannot teach; at most 100 are looked at.
    pub requests: usize,
    /// How many of them for which reason; of side requests also the rule that says so.
    pub reasons: BTreeMap<String, usize>,
    /// Why, in a sentence.
    pub why: String,
    /// What the user can do about it.
    pub what_to_do: String,
    /// Whether the OpenClaw client's configuration is what helps.
    pub configure_client: bool,
}

/// The rules that placed the turns of late.
#[derive(Debug, Default)]
pub struct Rules {
    by_turn: BTreeMap<TurnId, String>,
    order: VecDeque<TurnId>,
}

impl Rules {
    /// Takes the rule that made a turn side, or that began a conversation.
    pub fn take(&mut self, turn: TurnId, kind: TurnKind, placed_by: &str) {
        let rule = match (kind, placed_by.split_once(';')) {
            (TurnKind::Side, Some((_, rule))) => rule,
            (TurnKind::Main, None) if placed_by == BEGINS => BEGINS,
            _ => return,
        };
        if self.by_turn.insert(turn, rule.to_owned()).is_none() {
            self.order.push_back(turn);
        }
        if self.order.len() > RULES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_turn.remove(&oldest);
        }
    }
}

/// The rule of a turn that begins a conversation which no client names.
const BEGINS: &str = "new";
/// What a reply is counted as that nothing followed, while its conversation is open.
const NOTHING_YET: &str = "nothing_followed_yet";

/// What to say, if the last requests were ten or more in a row that cannot teach. Requests that
/// may still teach say nothing, except that whatever came before them is no matter any more once
/// one of them did. One that began a conversation a minute ago which did not go on counts as one
/// that nothing follows.
pub fn advise(ledger: &Ledger, rules: &Rules, now_us: i64) -> Option<Advice> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut requests = 0;
    let mut weights = [0_usize; CAUSES.len()];
    let mut taught = false;
    for (turn, state) in ledger.states().rev().take(REQUESTS_MAX) {
        let begins = || rules.by_turn.get(&turn).is_some_and(|rule| rule == BEGINS);
        let reason = match state {
            TurnState::Placed if now_us - turn.made_at_us() > LONELY_US && begins() => {
                Rejection::NoNextState
            }
            TurnState::Answered | TurnState::Placed | TurnState::Rejected(Rejection::Retry) => {
                continue;
            }
            TurnState::Rejected(reason) if !was_usable(reason) => reason,
            _ => {
                taught = true;
                break;
            }
        };
        let rule = rules.by_turn.get(&turn).filter(|_| reason == Rejection::Side);
        let rule = rule.map(String::as_str);
        let cause = CAUSES.iter().position(|cause| (cause.holds)(reason, rule));
        let name = match (rule, state) {
            (Some(rule), _) => format!("side;{rule}"),
            (None, TurnState::Placed) => NOTHING_YET.to_owned(),
            (None, _) => reason.label().to_owned(),
        };
        *reasons.entry(name).or_default() += 1;
        requests += 1;
        if let Some(cause) = cause {
            weights[cause] += 1;
        }
    }
    if requests < REQUESTS_MIN {
        return None;
    }
    // Of equally frequent causes the first of the table is the one to begin with.
    let (most, _) = (0..CAUSES.len()).map(|at| (at, weights[at])).rev().max_by_key(|(_, n)| *n)?;
    let Cause { why, what_to_do, configure_client, idle, .. } = &CAUSES[most];
    if *idle && taught {
        return None;
    }
    Some(Advice {
        requests,
        reasons,
        why: (*why).to_owned(),
        what_to_do: (*what_to_do).to_owned(),
        configure_client: *configure_client,
    })
}

/// Whether a turn of this kind was one that could have taught.
const fn was_usable(reason: Rejection) -> bool {
    matches!(
        reason,
        Rejection::Neutral | Rejection::Stale | Rejection::Quarantined | Rejection::Erased
    )
}

struct Cause {
    holds: fn(Rejection, Option<&str>) -> bool,
    why: &'static str,
    what_to_do: &'static str,
    configure_client: bool,
    /// It is what arrives while nobody talks: no fault where there was something to learn before.
    idle: bool,
}

/// Causes, the more telling first. Every reason that is no other's falls under the last.
const CAUSES: &[Cause] = &[
    Cause {
        holds: |reason, rule| reason == Rejection::Side && rule == Some("x-turn-type"),
        why: "the client itself marks its requests as `side`",
        what_to_do: "let the agent's own model be one whose provider sends `X-Turn-Type: main`, \
                     or send no such header",
        configure_client: true,
        idle: false,
    },
    Cause {
        holds: |reason, rule| {
            reason == Rejection::Side && matches!(rule, Some("not_the_agent" | "no_tools"))
        },
        why: "the requests stand in an agent's session, but carry not its system prompt or tools",
        what_to_do: "talk through the agent itself; a client that makes side calls in the session \
                     of its agent may give each a session of its own with `X-Session-Id`",
        configure_client: true,
        idle: false,
    },
    Cause {
        holds: |reason, _| reason == Rejection::Side,
        why: "only a client's housekeeping arrives (heartbeats, titles, summaries, sub-agents …)",
        what_to_do: "choose this server's model as the agent's primary model too, and talk to it",
        configure_client: true,
        idle: true,
    },
    Cause {
        holds: |reason, _| reason == Rejection::DoNotTrain,
        why: "the requests ask not to be learned from",
        what_to_do: "send no `X-No-Train` header, and look at `--do-not-train`",
        configure_client: false,
        idle: false,
    },
    Cause {
        holds: |reason, _| reason == Rejection::NoNextState,
        why: "nothing follows the replies: each request begins a conversation of its own, or ends \
              it",
        what_to_do: "send the whole history with each request, or name the conversation with \
                     `X-Session-Id`, or rate replies by POST /v1/feedback",
        configure_client: true,
        idle: false,
    },
    Cause {
        holds: |reason, _| matches!(reason, Rejection::Greedy | Rejection::Penalties),
        why: "the replies are drawn at temperature 0, or with penalties or a bias, so that the \
              recorded log-probabilities are not those of the policy",
        what_to_do: "let the client send a temperature above 0 (0.6, say), and no penalties",
        configure_client: false,
        idle: false,
    },
    Cause {
        holds: |reason, _| reason == Rejection::OtherPolicy,
        why: "an adapter answers, and it is the base that is trained",
        what_to_do: "ask for the model by the name that GET /v1/models lists first",
        configure_client: false,
        idle: false,
    },
    Cause {
        holds: |reason, _| matches!(reason, Rejection::JudgeFailed | Rejection::TeacherFailed),
        why: "the judge or the teacher gave no usable answer",
        what_to_do: "see logs/score.log and logs/hint.log of the home; `--judge rules` needs no \
                     model",
        configure_client: false,
        idle: false,
    },
    Cause {
        holds: |_, _| true,
        why: "no reply can be trained on",
        what_to_do: "the reasons are explained in docs/store.md, \"Where a turn stands\"; \
                     `openclaw-rl store show TURN` tells what happened to one",
        configure_client: false,
        idle: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Placement, TurnStatus};

    /// The ids of these tests were made in 1970.
    const NOW: i64 = 3_600_000_000;

    /// A ledger of turns, oldest first: side by a rule, or (`None`) ended without a next state.
    fn told(turns: &[Option<&str>]) -> (Ledger, Rules) {
        let (mut ledger, mut rules) = (Ledger::new(), Rules::default());
        for (turn, side) in (0..).map(TurnId).zip(turns) {
            let kind = if side.is_some() { TurnKind::Side } else { TurnKind::Main };
            place(&mut ledger, turn, kind, false);
            rules.take(turn, kind, &format!("x-session-id;{}", side.unwrap_or("retry")));
        }
        (ledger, rules)
    }

    fn place(ledger: &mut Ledger, turn: TurnId, kind: TurnKind, has_evidence: bool) {
        ledger.recorded(turn, TurnStatus::Answered);
        let placement =
            Placement { revision: 0, kind, closed: true, has_evidence, is_retry: false };
        ledger.placement(turn, placement);
    }

    #[test]
    fn ten_requests_that_cannot_teach_are_worth_a_word() {
        let (ledger, rules) = told(&[Some("x-turn-type"); 9]);
        assert_eq!(advise(&ledger, &rules, NOW), None);
        let (ledger, rules) = told(&[Some("x-turn-type"); 10]);
        let advice = advise(&ledger, &rules, NOW).unwrap();
        assert_eq!(advice.requests, 10);
        assert_eq!(advice.reasons, BTreeMap::from([("side;x-turn-type".to_owned(), 10)]));
        assert!(advice.why.contains("marks") && advice.configure_client);
    }

    #[test]
    fn the_most_frequent_cause_is_told() {
        let mut turns = vec![Some("heartbeat"); 4];
        turns.extend([None; 7]);
        let (ledger, rules) = told(&turns);
        let advice = advise(&ledger, &rules, NOW).unwrap();
        assert!(advice.why.contains("nothing follows"), "{}", advice.why);
        assert_eq!(advice.requests, 11);
        let (ledger, rules) = told(&[Some("title"), Some("heartbeat")].repeat(5));
        let advice = advise(&ledger, &rules, NOW).unwrap();
        assert!(advice.why.contains("housekeeping"), "{}", advice.why);
        assert_eq!(advice.reasons.len(), 2);
    }

    #[test]
    fn a_client_that_only_keeps_house_overnight_is_no_fault() {
        let (mut ledger, mut rules) = told(&[Some("heartbeat"); 20]);
        assert!(advise(&ledger, &rules, NOW).is_some());
        place(&mut ledger, TurnId(20), TurnKind::Main, true);
        for turn in (21..60).map(TurnId) {
            place(&mut ledger, turn, TurnKind::Side, false);
            rules.take(turn, TurnKind::Side, "runtime_line;heartbeat");
        }
        assert_eq!(advise(&ledger, &rules, NOW), None);
        for turn in (60..121).map(TurnId) {
            place(&mut ledger, turn, TurnKind::Side, false);
            rules.take(turn, TurnKind::Side, "runtime_line;heartbeat");
        }
        assert_eq!(advise(&ledger, &rules, NOW).unwrap().requests, REQUESTS_MAX, "for days");
    }

    #[test]
    fn who_asked_not_to_be_learned_from_is_told_so() {
        let (mut ledger, rules) = told(&[]);
        (0..10).for_each(|turn| ledger.recorded(TurnId(turn), TurnStatus::DoNotTrain));
        assert!(advise(&ledger, &rules, NOW).unwrap().why.contains("not to be learned from"));
    }

    #[test]
    fn one_that_can_teach_ends_it_and_one_that_may_says_nothing() {
        let (mut ledger, rules) = told(&[None; 12]);
        ledger.recorded(TurnId(90), TurnStatus::Answered);
        assert_eq!(advise(&ledger, &rules, NOW).unwrap().requests, 12);
        place(&mut ledger, TurnId(90), TurnKind::Main, true);
        assert_eq!(advise(&ledger, &rules, NOW), None);
        for turn in 91..100 {
            place(&mut ledger, TurnId(turn), TurnKind::Main, false);
        }
        assert_eq!(advise(&ledger, &rules, NOW), None, "nine since");
        place(&mut ledger, TurnId(100), TurnKind::Main, false);
        assert_eq!(advise(&ledger, &rules, NOW).unwrap().requests, 10);
    }

    #[test]
    fn conversations_that_do_not_go_on_are_told_before_they_time_out() {
        let (mut ledger, mut rules) = told(&[]);
        for turn in (0..10).map(TurnId) {
            ledger.recorded(turn, TurnStatus::Answered);
            let open = Placement {
                revision: 0,
                kind: TurnKind::Main,
                closed: false,
                has_evidence: false,
                is_retry: false,
            };
            ledger.placement(turn, open);
            rules.take(turn, TurnKind::Main, "new");
        }
        assert_eq!(advise(&ledger, &rules, LONELY_US), None, "they may go on");
        let advice = advise(&ledger, &rules, NOW).unwrap();
        assert_eq!(advice.reasons, BTreeMap::from([(NOTHING_YET.to_owned(), 10)]));
        assert!(advice.why.contains("nothing follows"), "{}", advice.why);
        place(&mut ledger, TurnId(9), TurnKind::Main, true);
        assert_eq!(advise(&ledger, &rules, NOW), None, "one of them went on");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut rules = Rules::default();
        for turn in 0..5_000 {
            rules.take(TurnId(turn), TurnKind::Side, "new;title");
        }
        assert_eq!((rules.by_turn.len(), rules.order.len()), (RULES_MAX, RULES_MAX));
    }
}
