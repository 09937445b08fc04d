//! Adding up what the replicas of a model came to.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use burn::tensor::distributed::{ReduceOperation, all_reduce};

use super::error::TrainError;
use super::figures::Figures;
use crate::model::{Parameter, Parameters};

/// One replica's part in a sum over all replicas. Each must call the same functions in the same
/// order; all get the same result, bit for bit.
pub trait AllReduce: Send {
    /// This replica's number, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// The sum of every replica's gradient and figures.
    ///
    /// # Errors
    /// Another replica failed or ended, or the devices cannot reach each other.
    fn sum(
        &mut self,
        gradient: Parameters,
        figures: Figures,
    ) -> Result<(Parameters, Figures), TrainError>;
}

/// The only replica there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl AllReduce for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn sum(
        &mut self,
        gradient: Parameters,
        figures: Figures,
    ) -> Result<(Parameters, Figures), TrainError> {
        Ok((gradient, figures))
    }
}

/// Where the replicas of one process meet.
#[derive(Debug)]
struct Meeting {
    held: Mutex<Held>,
    changed: Condvar,
}

/// What one replica adds.
type Part = (Parameters, Figures);

#[derive(Debug)]
struct Held {
    parts: Vec<Option<Part>>,
    sum: Option<Part>,
    /// Replicas that have taken the sum.
    taken: usize,
    /// A replica is gone: there will be no further sum.
    broken: bool,
}

/// A replica that adds up through the memory of its process, in the order of ranks. Devices may
/// differ: what is added is copied to that of the first replica, and the sum back.
#[derive(Debug)]
pub struct Shared {
    meeting: Arc<Meeting>,
    rank: usize,
    ranks: usize,
}

impl Shared {
    /// The parts of so many replicas.
    pub fn among(ranks: usize) -> Vec<Self> {
        let held = Held { parts: vec![None; ranks], sum: None, taken: 0, broken: false };
        let meeting = Arc::new(Meeting { held: Mutex::new(held), changed: Condvar::new() });
        let one = |rank| Self { meeting: Arc::clone(&meeting), rank, ranks };
        (0..ranks).map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.meeting.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready`, or until a replica is gone.
    fn wait<'a>(
        &self,
        held: MutexGuard<'a, Held>,
        ready: impl Fn(&Held) -> bool,
    ) -> Result<MutexGuard<'a, Held>, TrainError> {
        let waiting = |held: &mut Held| !ready(held) && !held.broken;
        let waited = self.meeting.changed.wait_while(held, waiting);
        let held = waited.unwrap_or_else(PoisonError::into_inner);
        if ready(&held) { Ok(held) } else { Err(TrainError::ReplicaGone { rank: self.rank }) }
    }
}

impl AllReduce for Shared {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn sum(
        &mut self,
        gradient: Parameters,
        figures: Figures,
    ) -> Result<(Parameters, Figures), TrainError> {
        let device = gradient.iter().next().map(|(_, gradient)| gradient.values.device());
        // the sum before this one was taken by everyone
        let mut held = self.wait(self.lock(), |held| held.sum.is_none())?;
        held.parts[self.rank] = Some((gradient, figures));
        if held.parts.iter().all(Option::is_some) {
            let parts = held.parts.iter_mut().filter_map(Option::take);
            held.sum = parts.reduce(added);
            self.meeting.changed.notify_all();
        }
        let mut held = self.wait(held, |held| held.sum.is_some())?;
        held.taken += 1;
        let sum = if held.taken == self.ranks {
            held.taken = 0;
            self.meeting.changed.notify_all();
            held.sum.take()
        } else {
            held.sum.clone()
        };
        let (gradient, figures) = sum.ok_or(TrainError::ReplicaGone { rank: self.rank })?;
        let Some(device) = device else { return Ok((gradient, figures)) };
        let moved = gradient.into_iter().map(|(name, gradient)| {
            let values = gradient.values.to_device(&device);
            (name, Parameter::new(gradient.shape, values))
        });
        Ok((moved.collect(), figures))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lock().broken = true;
        self.meeting.changed.notify_all();
    }
}

/// A replica on a CUDA device, whose gradient is added up by NCCL, device to device. Figures go
/// through the memory of the process, and with them the certainty that every replica is there:
/// a collective that one replica does not join would never end.
#[derive(Debug)]
pub struct Collective {
    shared: Shared,
    devices: Vec<Device>,
}

impl Collective {
    /// Where NCCL is looked for.
    const PLACES: [&str; 4] =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/cuda/lib64", "/usr/local/lib"];

    /// The parts of one replica on each of these devices; `None` where NCCL is not installed.
    pub fn among(devices: &[Device]) -> Option<Vec<Self>> {
        let has = |place: &str| std::path::Path::new(place).join("libnccl.so.2").exists();
        let there = cfg!(feature = "cuda-unfused") && Self::PLACES.iter().any(|place| has(place));
        let one = |shared| Self { shared, devices: devices.to_vec() };
        there.then(|| Shared::among(devices.len()).into_iter().map(one).collect())
    }
}

impl AllReduce for Collective {
    fn rank(&self) -> usize {
        self.shared.rank
    }

    fn ranks(&self) -> usize {
        self.shared.ranks
    }

    fn sum(
        &mut self,
        gradient: Parameters,
        figures: Figures,
    ) -> Result<(Parameters, Figures), TrainError> {
        let (_, figures) = self.shared.sum(Parameters::new(), figures)?;
        // every replica has the same parameters, in the order of their names
        let summed = gradient.into_iter().map(|(name, Parameter { shape, values })| {
            let sum = all_reduce(values, ReduceOperation::Sum, self.devices.clone());
            (name, Parameter::new(shape, sum.resolve()))
        });
        Ok((summed.collect(), figures))
    }
}

/// The sum of two parts, on the device of the first.
fn added((mut sum, mut figures): Part, (gradient, other): Part) -> Part {
    figures.merge(&other);
    for (name, more) in gradient {
        let total = match sum.remove(&name) {
            Some(Parameter { shape, values }) => {
                let more = more.values.to_device(&values.device());
                Parameter::new(shape, values.add(more))
            }
            None => more,
        };
        sum.insert(name, total);
    }
    (sum, figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(values: &[f32]) -> Parameters {
        let values = Parameter::from_values(vec![values.len()], values.to_vec(), &Device::flex());
        [("w".to_owned(), values)].into_iter().collect()
    }

    fn sums(ranks: usize, rounds: usize) -> Vec<Vec<Vec<f32>>> {
        let one = |mut reduce: Shared| {
            let sum = |round: usize| {
                let own = part(&[reduce.rank() as f32 + 0.1, round as f32]);
                let mut figures = Figures::default();
                figures.rows = reduce.rank() + 1;
                let (sum, figures) = reduce.sum(own, figures).unwrap();
                assert_eq!(figures.rows, ranks * (ranks + 1) / 2);
                sum.get("w").unwrap().to_vec().unwrap()
            };
            (0..rounds).map(sum).collect()
        };
        std::thread::scope(|scope| {
            let parts = Shared::among(ranks);
            let threads: Vec<_> =
                parts.into_iter().map(|part| scope.spawn(move || one(part))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn every_replica_gets_the_same_sum_round_after_round() {
        let all = sums(3, 20);
        for rounds in &all {
            for (round, sum) in rounds.iter().enumerate() {
                assert_eq!(sum, &[0.1 + 1.1 + 2.1, 3.0 * round as f32], "in the order of ranks");
            }
        }
        assert_eq!(sums(1, 2)[0][1], [0.1, 1.0]);
    }

    #[test]
    fn nobody_waits_for_a_replica_that_is_gone() {
        let mut parts = Shared::among(2);
        drop(parts.pop());
        let error = parts[0].sum(part(&[1.0]), Figures::default()).unwrap_err();
        assert!(matches!(error, TrainError::ReplicaGone { rank: 0 }), "{error}");
    }
}
