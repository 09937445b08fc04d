//! The sampler against the exact distribution.

use super::*;

/// Draws without grammar or ban.
fn draw(sampler: &mut Sampler, row: &[f32]) -> Drawn {
    sampler.sample(row, Choice::default()).unwrap()
}

fn sampling(temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Sampling {
    Sampling { temperature, top_p, top_k, seed, max_tokens: 1, ..Sampling::default() }
}

const ROW: [f32; 6] = [1.0, 3.0, -2.0, 2.5, 3.0, 0.0];

/// The distribution at T over `kept`, by the formula.
fn exact(row: &[f32], temperature: f64, kept: &[usize]) -> Vec<f64> {
    let weight = |id: usize| (f64::from(row[id]) / temperature).exp();
    let mass: f64 = kept.iter().map(|id| weight(*id)).sum();
    (0..row.len()).map(|id| if kept.contains(&id) { weight(id) / mass } else { 0.0 }).collect()
}

/// Draws 20,000 times; every share must be within five standard deviations of the exact one.
fn check_shares(sampling: &Sampling, row: &[f32], expected: &[f64]) {
    const DRAWS: u32 = 20_000;
    let mut sampler = Sampler::new(sampling, &[], 0);
    let mut counts = vec![0_u32; row.len()];
    for _ in 0..DRAWS {
        counts[draw(&mut sampler, row).id as usize] += 1;
    }
    for (id, &p) in expected.iter().enumerate() {
        let share = f64::from(counts[id]) / f64::from(DRAWS);
        let deviation = (p * (1.0 - p) / f64::from(DRAWS)).sqrt();
        assert!((share - p).abs() <= 5.0 * deviation, "{sampling:?} id {id}: {share} for {p}");
    }
}

#[test]
fn draws_follow_the_distribution() {
    let all = [0, 1, 2, 3, 4, 5];
    check_shares(&sampling(1.0, 0, 1.0, 7), &ROW, &exact(&ROW, 1.0, &all));
    check_shares(&sampling(0.6, 0, 1.0, 8), &ROW, &exact(&ROW, f64::from(0.6_f32), &all));
    check_shares(&sampling(2.0, 6, 1.0, 9), &ROW, &exact(&ROW, 2.0, &all));
}

#[test]
fn top_k_keeps_the_most_probable_and_breaks_ties_by_id() {
    check_shares(&sampling(1.0, 3, 1.0, 1), &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
    check_shares(&sampling(1.0, 1, 1.0, 2), &ROW, &exact(&ROW, 1.0, &[1]));
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_it() {
    // At T = 1 the shares are 1: .357, 4: .357, 3: .217, 0: .048, 5: .018, 2: .002.
    check_shares(&sampling(1.0, 0, 0.7, 3), &ROW, &exact(&ROW, 1.0, &[1, 4]));
    check_shares(&sampling(1.0, 0, 0.72, 4), &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
    check_shares(&sampling(1.0, 0, 1e-6, 5), &ROW, &exact(&ROW, 1.0, &[1]));
}

#[test]
fn top_p_is_a_share_of_what_temperature_and_top_k_left() {
    // Of the best three at T = 1, 1 and 4 have 0.767: enough for 0.75, which is more than
    // their 0.714 of everything.
    check_shares(&sampling(1.0, 3, 0.75, 6), &ROW, &exact(&ROW, 1.0, &[1, 4]));
    check_shares(&sampling(1.0, 0, 0.75, 6), &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
    // At T = 4 the shares are flatter.
    check_shares(&sampling(4.0, 0, 0.7, 6), &ROW, &exact(&ROW, 4.0, &[0, 1, 3, 4]));
}

#[test]
fn the_nucleus_of_a_large_flat_row_spans_several_windows() {
    let row: Vec<f32> = (0..5000).map(|id| ((id * 37) % 5000) as f32 * 1e-6).collect();
    let mut sampler = Sampler::new(&sampling(1.0, 0, 0.5, 11), &[], 0);
    let mut lowest = 0;
    for _ in 0..2_000 {
        let id = draw(&mut sampler, &row).id;
        let rank = row.iter().filter(|logit| **logit > row[id as usize]).count();
        lowest = lowest.max(rank);
    }
    assert!((2_400..2_500).contains(&lowest), "lowest rank drawn: {lowest}");
}

#[test]
fn the_log_probability_is_that_of_the_whole_vocabulary() {
    for (temperature, top_k, top_p) in [(1.0, 0, 1.0), (0.6, 2, 1.0), (1.5, 0, 0.5), (0.25, 3, 0.9)]
    {
        let expected = exact(&ROW, f64::from(temperature), &[0, 1, 2, 3, 4, 5]);
        let mut sampler = Sampler::new(&sampling(temperature, top_k, top_p, 3), &[], 0);
        for _ in 0..50 {
            let Drawn { id, logprob: found, drawn_logprob, .. } = draw(&mut sampler, &ROW);
            assert!((f64::from(found) - expected[id as usize].ln()).abs() < 1e-6);
            assert_eq!(found, logprob(&ROW, id, temperature).unwrap(), "one definition");
            assert_eq!(found == drawn_logprob, (top_k, top_p) == (0, 1.0), "{drawn_logprob}");
        }
    }
}

#[test]
fn greedy_takes_the_first_of_the_best_and_scores_the_plain_logits() {
    let mut sampler = Sampler::new(&sampling(0.0, 0, 1.0, 3), &[], 0);
    let drawn = draw(&mut sampler, &ROW);
    assert_eq!((drawn.id, drawn.drawn_logprob), (1, 0.0));
    let expected = exact(&ROW, 1.0, &[0, 1, 2, 3, 4, 5])[1].ln();
    assert!((f64::from(drawn.logprob) - expected).abs() < 1e-6);
}

#[test]
fn huge_and_tiny_logits_stay_exact() {
    let row = [30_000.0, 29_999.0, -30_000.0];
    let expected = exact(&[1.0, 0.0], 1.0, &[0, 1])[1].ln();
    assert!((f64::from(logprob(&row, 1, 1.0).unwrap()) - expected).abs() < 1e-6);
    assert_eq!(logprob(&row, 2, 1.0).unwrap(), -60_000.312);
}

#[test]
fn a_seed_gives_one_stream() {
    let stream = |seed: u64| -> Vec<u32> {
        let mut sampler = Sampler::new(&sampling(1.0, 0, 0.99, seed), &[], 0);
        (0..100).map(|_| draw(&mut sampler, &ROW).id).collect()
    };
    assert_eq!(stream(5), stream(5));
    assert_ne!(stream(5), stream(6));
}

#[test]
fn a_logit_that_is_no_number_is_an_error() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for temperature in [0.0, 1.0] {
            let mut sampler = Sampler::new(&sampling(temperature, 0, 1.0, 1), &[], 0);
            let error = sampler.sample(&[1.0, bad, 2.0], Choice::default()).unwrap_err();
            assert_eq!(error.id, 1);
            assert_eq!(error.value.to_bits(), bad.to_bits());
        }
    }
}

#[test]
fn min_p_keeps_what_is_probable_beside_the_best() {
    // Beside the best at T = 1: 3 has e^-0.5 = .607, 0 has e^-2 = .135, 5 has .050, 2 has .007.
    let min_p = |min_p: f32| Sampling { min_p, ..sampling(1.0, 0, 1.0, 12) };
    check_shares(&min_p(0.1), &ROW, &exact(&ROW, 1.0, &[0, 1, 3, 4]));
    check_shares(&min_p(0.14), &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
    check_shares(&min_p(1.0), &ROW, &exact(&ROW, 1.0, &[1, 4]));
    // At T = 2 it is .368 for 0: after the temperature.
    let flat = Sampling { temperature: 2.0, ..min_p(0.3) };
    check_shares(&flat, &ROW, &exact(&ROW, 2.0, &[0, 1, 3, 4]));
    // top_p is a share of what was there before min_p.
    let both = Sampling { top_p: 0.75, ..min_p(0.2) };
    check_shares(&both, &ROW, &exact(&ROW, 1.0, &[1, 3, 4]));
}

#[test]
fn a_bias_shifts_a_logit_and_no_recorded_log_probability() {
    let bias = Sampling { logit_bias: vec![(2, 4.5), (3, -100.0)], ..sampling(1.0, 0, 1.0, 13) };
    let shifted = [1.0, 3.0, 2.5, -97.5, 3.0, 0.0];
    let expected = exact(&shifted, 1.0, &[0, 1, 2, 3, 4, 5]);
    check_shares(&bias, &ROW, &expected);
    let drawn = draw(&mut Sampler::new(&bias, &[], 0), &ROW);
    assert_eq!(drawn.logprob, logprob(&ROW, drawn.id, 1.0).unwrap());
    assert!((f64::from(drawn.drawn_logprob) - expected[drawn.id as usize].ln()).abs() < 1e-6);
}

/// The ids that greedy sampling gives for the same row again and again.
fn greedy(sampling: &Sampling, prompt: &[u32], row: &[f32], count: usize) -> Vec<u32> {
    let sampling = Sampling { temperature: 0.0, ..sampling.clone() };
    let mut sampler = Sampler::new(&sampling, prompt, 0);
    (0..count).map(|_| draw(&mut sampler, row).id).collect()
}

#[test]
fn penalties_are_those_of_the_engines_that_people_know() {
    let row = [2.0, 1.9, 0.95, -1.0];
    let none = sampling(1.0, 0, 1.0, 1);
    assert_eq!(greedy(&none, &[0], &row, 3), [0, 0, 0]);

    // Repetition counts the prompt, once, and divides what is positive.
    let repetition = Sampling { repetition_penalty: 1.25, ..none.clone() };
    assert_eq!(greedy(&repetition, &[], &row, 3), [0, 1, 0], "1.6 and 1.52 after both");
    assert_eq!(greedy(&repetition, &[0, 0, 0], &row, 2), [1, 0]);
    // A negative logit is multiplied: -1 becomes -2 and loses against -1.5.
    let negative = [-1.0, -1.5];
    let strong = Sampling { repetition_penalty: 2.0, ..none.clone() };
    assert_eq!(greedy(&strong, &[0], &negative, 1), [1]);

    // Presence counts the reply, once.
    let presence = Sampling { presence_penalty: 0.15, ..none.clone() };
    assert_eq!(greedy(&presence, &[0, 0], &row, 4), [0, 1, 0, 0], "then 1.85 and 1.75");
    // Frequency counts each time.
    let frequency = Sampling { frequency_penalty: 0.15, ..none.clone() };
    assert_eq!(greedy(&frequency, &[0, 0], &row, 5), [0, 1, 0, 1, 0]);
    // Both: 2 - 0.4 - 0.3n.
    let both = Sampling { presence_penalty: 0.4, frequency_penalty: 0.3, ..none };
    assert_eq!(greedy(&both, &[], &row, 6), [0, 1, 0, 1, 0, 2]);
}

#[test]
fn bias_comes_before_penalties() {
    // (1 + 3) / 2 = 2, below 2.5; the other order gives 1 / 2 + 3 = 3.5.
    let sampling = Sampling {
        repetition_penalty: 2.0,
        logit_bias: vec![(0, 3.0)],
        ..sampling(1.0, 0, 1.0, 1)
    };
    assert_eq!(greedy(&sampling, &[0], &[1.0, 2.5], 1), [1]);
}

#[test]
fn penalties_change_what_is_drawn_and_nothing_that_is_recorded() {
    let sampling = Sampling {
        repetition_penalty: 1.3,
        presence_penalty: 0.5,
        frequency_penalty: 0.2,
        ..sampling(0.8, 0, 1.0, 5)
    };
    let mut sampler = Sampler::new(&sampling, &[5, 2], 0);
    let mut counts = [0.0_f32; 6];
    for _ in 0..50 {
        let shifted: Vec<f32> = (0..6)
            .map(|id| {
                let seen = counts[id] > 0.0 || [5, 2].contains(&id);
                let factor = if !seen { 1.0 } else { if ROW[id] > 0.0 { 1.0 / 1.3 } else { 1.3 } };
                let presence = if counts[id] > 0.0 { 0.5 } else { 0.0 };
                ROW[id] * factor - presence - 0.2 * counts[id]
            })
            .collect();
        let expected = exact(&shifted, f64::from(0.8_f32), &[0, 1, 2, 3, 4, 5]);
        let drawn = draw(&mut sampler, &ROW);
        let id = drawn.id as usize;
        assert!((f64::from(drawn.drawn_logprob) - expected[id].ln()).abs() < 1e-5);
        assert_eq!(drawn.logprob, logprob(&ROW, drawn.id, 0.8).unwrap());
        counts[id] += 1.0;
    }
}

fn allowed(ids: &[u32]) -> AllowedIds {
    let mut allowed = AllowedIds::none(ROW.len());
    ids.iter().for_each(|id| allowed.insert(*id));
    allowed
}

#[test]
fn a_grammar_leaves_what_it_allows_before_top_k_counts() {
    let set = allowed(&[0, 2, 5]);
    let choice = Choice { allowed: Some(&set), banned: &[] };
    let mut sampler = Sampler::new(&sampling(1.0, 2, 1.0, 4), &[], 0);
    let expected = exact(&ROW, 1.0, &[0, 5]);
    for _ in 0..200 {
        let drawn = sampler.sample(&ROW, choice).unwrap();
        assert!([0, 5].contains(&drawn.id), "{drawn:?}");
        assert!(!drawn.forced);
        assert!((f64::from(drawn.drawn_logprob) - expected[drawn.id as usize].ln()).abs() < 1e-6);
        assert_eq!(drawn.logprob, logprob(&ROW, drawn.id, 1.0).unwrap(), "of everything");
    }
    let mut greedy = Sampler::new(&sampling(0.0, 0, 1.0, 4), &[], 0);
    assert_eq!(greedy.sample(&ROW, choice).unwrap().id, 0);
}

#[test]
fn what_a_grammar_forces_is_said_to_be() {
    let set = allowed(&[2]);
    for (temperature, top_p) in [(1.0, 1.0), (1.0, 0.3), (0.0, 1.0)] {
        let mut sampler = Sampler::new(&sampling(temperature, 0, top_p, 4), &[], 0);
        let choice = Choice { allowed: Some(&set), banned: &[2] };
        let drawn = sampler.sample(&ROW, choice).unwrap();
        assert_eq!((drawn.id, drawn.forced, drawn.drawn_logprob), (2, true, 0.0));
    }
}

#[test]
fn a_banned_id_does_not_come_unless_every_id_is_banned() {
    let banned = [1, 4];
    let choice = Choice { allowed: None, banned: &banned };
    let mut sampler = Sampler::new(&sampling(0.0, 0, 1.0, 4), &[], 0);
    assert_eq!(sampler.sample(&ROW, choice).unwrap().id, 3);
    let everything = [0, 1, 2, 3, 4, 5];
    let choice = Choice { allowed: None, banned: &everything };
    assert_eq!(sampler.sample(&ROW, choice).unwrap().id, 1);
}

#[test]
fn the_most_probable_ids_are_those_of_the_plain_row() {
    let biased = Sampling { logit_bias: vec![(2, 50.0)], ..sampling(0.5, 1, 1.0, 1) };
    let drawn = draw(&mut Sampler::new(&biased, &[], 3), &ROW);
    assert_eq!(drawn.id, 2);
    let ids: Vec<u32> = drawn.top.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 4, 3], "best first, lower ids first among equals");
    for (id, found) in drawn.top {
        assert_eq!(found, logprob(&ROW, id, 0.5).unwrap());
    }
    assert_eq!(draw(&mut Sampler::new(&biased, &[], 100), &ROW).top.len(), ROW.len());
    assert!(draw(&mut Sampler::new(&biased, &[], 0), &ROW).top.is_empty());
}
