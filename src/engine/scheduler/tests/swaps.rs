//! Versions that go live: which ones are held, what is computed on them before.

use super::*;

#[test]
fn a_third_version_waits_for_the_oldest_and_a_fourth_takes_its_place() {
    let mut scheduler = new();
    let oldest = scheduler.enqueue(reply(100, 1, 9));
    admit(&mut scheduler);
    assert_eq!(swap(&mut scheduler, 1), None);
    assert_eq!(go_live(&mut scheduler), Some(Version(1)));
    let newer = scheduler.enqueue(reply(200, 1, 9));
    admit(&mut scheduler);
    assert_eq!(scheduler.model(newer).map(|key| key.version), Some(Version(1)));

    assert_eq!(swap(&mut scheduler, 2), None);
    assert_eq!(go_live(&mut scheduler), None, "two versions are in flight");
    assert_eq!(swap(&mut scheduler, 3), Some(Version(2)), "2 is displaced");
    assert_eq!(go_live(&mut scheduler), None);
    scheduler.finish(oldest);
    assert_eq!(go_live(&mut scheduler), Some(Version(3)));
    assert_eq!(scheduler.resident(), [Version(1), Version(3)].into());
    assert_eq!(go_live(&mut scheduler), None, "nothing waits");
}

#[test]
fn a_version_goes_live_once_it_knows_what_was_used_last() {
    let mut scheduler = new();
    for begin in [100, 200] {
        let ticket = scheduler.enqueue(reply(begin, 33, 40));
        admit(&mut scheduler);
        (0..5).for_each(|_| drop(step(&mut scheduler)));
        scheduler.finish(ticket);
    }
    let stream = scheduler.enqueue(reply(300, 2, 30));
    admit(&mut scheduler);
    step(&mut scheduler);
    swap(&mut scheduler, 1);
    let (tokens, warming) = scheduler.warm().expect("it knows nothing");
    assert_eq!(tokens, (200..232).collect::<Vec<_>>(), "of the last chain, whole blocks");
    assert_eq!((warming.blocks.len(), scheduler.go_live()), (0, None));
    let key = ModelKey { version: Version(1), ..base() };
    for start in (0..32).step_by(4) {
        let mut plan = scheduler.plan();
        assert_eq!(plan.batches[&base()], [Part::Decode(stream)]);
        let part = given(warming.ticket, start..start + 4, start == 28);
        assert_eq!(plan.batches.remove(&key), Some(vec![part]), "a block per step");
        scheduler.push(stream, 1);
        let block = |_| Ok::<_, ()>(Arc::new((key.clone(), Vec::new())));
        scheduler.settle(warming.ticket, block).expect("sharing never fails");
    }
    scheduler.finish(warming.ticket);
    let (tokens, rest) = scheduler.warm().expect("8 of the 12 blocks are spent");
    assert_eq!(tokens, (100..116).collect::<Vec<_>>());
    scheduler.finish(rest.ticket);
    assert!(scheduler.warm().is_none());
    assert_eq!(scheduler.go_live(), Some(Version(1)));
    assert_eq!(scheduler.unused(), 8, "what only the older version used is gone");
    let again = scheduler.enqueue(reply(200, 40, 44));
    let admitted = scheduler.admit();
    assert_eq!((admitted[0].ticket, admitted[0].blocks.len()), (again, 8));
}

#[test]
fn warming_does_not_run_after_streams_forever() {
    let limits = Limits { blocks_max: 1000, warm_blocks_max: 1000, ..LIMITS };
    let mut scheduler: Scheduler<Block> = Scheduler::new(limits, Version(0), adapters(&[]));
    for n in 0..4 {
        scheduler.enqueue(reply(n * 100, 1 + n as usize, 900));
    }
    admit(&mut scheduler);
    (0..20).for_each(|_| drop(step(&mut scheduler)));
    swap(&mut scheduler, 1);
    let mut warmed = 0;
    while scheduler.go_live().is_none() {
        // Each step a stream completes a block, and one is computed of those.
        drop(scheduler.warm());
        let batches = scheduler.plan().batches;
        for part in batches.values().flatten() {
            let (Part::Decode(ticket) | Part::Given { ticket, .. }) = part;
            let block = |_| Ok::<_, ()>(Arc::new((base(), Vec::new())));
            scheduler.settle(*ticket, block).expect("sharing never fails");
            match part {
                Part::Decode(_) => scheduler.push(*ticket, 1),
                Part::Given { tokens, last, .. } => {
                    warmed += tokens.len();
                    if *last {
                        scheduler.finish(*ticket);
                    }
                }
            }
        }
        assert!(warmed < 500, "it runs after them");
    }
    assert!(warmed > 80, "{warmed}");
}

/// A scheduler whose version 1 is about to learn what a reply left behind.
fn one_that_warms() -> (Scheduler<Block>, Admitted<Block>) {
    let mut scheduler = new();
    let first = scheduler.enqueue(reply(100, 40, 44));
    admit(&mut scheduler);
    (0..5).for_each(|_| drop(step(&mut scheduler)));
    scheduler.finish(first);
    swap(&mut scheduler, 1);
    let (_, warming) = scheduler.warm().expect("it knows nothing");
    (scheduler, warming)
}

#[test]
fn warming_gives_way_to_whoever_is_here() {
    let (mut scheduler, warming) = one_that_warms();
    let large = scheduler.enqueue(reply(200, 40, 120));
    assert_eq!(admit(&mut scheduler), [large], "all the memory there is");
    assert!(!scheduler.is_warming(warming.ticket));
    assert_eq!(scheduler.go_live(), Some(Version(1)));
}

#[test]
fn a_displaced_version_leaves_nothing() {
    let (mut scheduler, warming) = one_that_warms();
    scheduler.plan();
    let key = ModelKey { version: Version(1), ..base() };
    let block = |_| Ok::<_, ()>(Arc::new((key.clone(), Vec::new())));
    scheduler.settle(warming.ticket, block).expect("sharing never fails");
    assert_eq!(scheduler.unused(), 10);
    assert_eq!(scheduler.in_use(), 10);
    assert_eq!(swap(&mut scheduler, 2), Some(Version(1)));
    assert_eq!((scheduler.in_use(), scheduler.unused()), (0, 10));
    assert!(!scheduler.models().contains(&key));
}

#[test]
fn an_older_version_that_still_runs_can_go_live_again() {
    let mut scheduler = new();
    scheduler.enqueue(reply(100, 1, 9));
    admit(&mut scheduler);
    swap(&mut scheduler, 1);
    go_live(&mut scheduler);
    scheduler.enqueue(reply(200, 1, 9));
    admit(&mut scheduler);
    swap(&mut scheduler, 0);
    assert_eq!(go_live(&mut scheduler), Some(Version(0)), "it is held already");
}

#[test]
fn an_adapter_is_wanted_as_long_as_a_request_names_it() {
    let mut scheduler: Scheduler<Block> = Scheduler::new(LIMITS, Version(0), adapters(&["a"]));
    let demand = Demand { adapter: Some("a".into()), ..reply(100, 5, 9) };
    let [running, waiting] = [(); 2].map(|()| scheduler.enqueue(demand.clone()));
    scheduler.finish(waiting);
    assert!(scheduler.wants_adapter("a") && !scheduler.wants_adapter("b"));
    admit(&mut scheduler);
    let key = ModelKey { version: Version(0), adapter: Some("a".into()) };
    assert_eq!(scheduler.model(running), Some(&key));
    scheduler.plan();
    let block = |_| Ok::<_, ()>(Arc::new((key.clone(), Vec::new())));
    scheduler.settle(running, block).expect("sharing never fails");
    scheduler.finish(running);
    assert!(!scheduler.wants_adapter("a"));
    assert_eq!(scheduler.unused(), 1);
    scheduler.unload_adapter("a");
    assert_eq!(scheduler.unused(), 0, "what was computed with it is gone");
    assert_eq!(scheduler.models(), [base()].into());
}
