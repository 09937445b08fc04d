//! What is constant in the loss of a batch: computed once, with the weights before the step, and
//! used in each of its updates.

use super::error::TrainError;
use super::figures::floats;
use super::samples::Sample;
use crate::config::{Behaviour, HybridSelection, HybridSupport, Method, TrainConfig};
use crate::loss::hybrid::{
    Candidate, Selection, Support, SupportKind, TopK, choose, overlap, support,
};
use crate::model::{Decoder, Pack, Sequence, answers, plan, top, top_and_answers};
use crate::model::{Support as Asked, TopK as Found};

/// The constants of one sample. What the configured objective does not need is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constants {
    /// log-probabilities of the response by the weights before the step, `[R]`.
    pub proximal: Vec<f32>,
    /// log-probabilities of the response by the reference, `[R]`.
    pub reference: Vec<f32>,
    /// What the distillation of this sample looks at; of a sample without a hint, it counts for
    /// nothing.
    pub support: Option<Support>,
}

/// The models whose weights do not change within a step.
#[derive(Clone, Copy, Debug)]
pub struct Frozen<'a> {
    /// The weights before the step.
    pub policy: &'a Decoder,
    /// The teacher, which may be the policy.
    pub teacher: &'a Decoder,
    /// The reference, where the distance to it counts.
    pub reference: Option<&'a Decoder>,
}

/// A preparation at work: whose constants, by which models, and whether to go on.
pub struct Preparation<'a> {
    /// The models.
    pub frozen: Frozen<'a>,
    /// What is optimised.
    pub config: &'a TrainConfig,
    /// Whether the process is to end.
    pub stopped: &'a mut dyn FnMut() -> bool,
}

/// The likeliest ids of a response, and log-probabilities at other ones.
type TopAndAt = (TopK, Vec<f32>);

/// A sample's prompt (its own, or one with a hint) and its response.
struct Asking<'a> {
    sample: &'a Sample,
    sequence: Sequence,
}

impl<'a> Asking<'a> {
    fn plain(sample: &'a Sample, decoder: &Decoder) -> Result<Self, TrainError> {
        let (tokens, start) = (sample.tokens.clone(), sample.response_start);
        Ok(Self { sample, sequence: Sequence::new(decoder.config(), tokens, start)? })
    }

    fn hinted(sample: &'a Sample, prompt: &[u32], decoder: &Decoder) -> Result<Self, TrainError> {
        let response = &sample.tokens[sample.response_start..];
        let tokens = [prompt, response].concat();
        Ok(Self { sample, sequence: Sequence::new(decoder.config(), tokens, prompt.len())? })
    }
}

impl Preparation<'_> {
    /// The constants of each sample; `None` if the process is to end.
    ///
    /// # Errors
    /// A model cannot be worked with: a sample of another vocabulary, a device without an answer.
    pub fn constants(&mut self, samples: &[Sample]) -> Result<Option<Vec<Constants>>, TrainError> {
        let mut all = vec![Constants::default(); samples.len()];
        let policy = self.frozen.policy;
        let plain = samples.iter().map(|sample| Asking::plain(sample, policy));
        let plain: Vec<Asking<'_>> = plain.collect::<Result<_, _>>()?;
        let has_ratio = self.config.method.has_ratio();
        if has_ratio && self.config.behaviour == Behaviour::Decoupled {
            let Some(rows) = self.logprobs(policy, &plain)? else { return Ok(None) };
            all.iter_mut().zip(rows).for_each(|(constants, row)| constants.proximal = row);
        }
        if let Some(reference) = self.frozen.reference {
            let Some(rows) = self.logprobs(reference, &plain)? else { return Ok(None) };
            all.iter_mut().zip(rows).for_each(|(constants, row)| constants.reference = row);
        }
        let supports = match self.config.method {
            Method::Topk => self.top_k(samples)?,
            Method::Hybrid if self.config.weight_opd != 0.0 => self.hybrid(samples, &plain)?,
            _ => return Ok(Some(all)),
        };
        let Some(supports) = supports else { return Ok(None) };
        all.iter_mut().zip(supports).for_each(|(to, support)| to.support = Some(support));
        Ok(Some(all))
    }

    /// Looks at packs of sequences, and returns what `look` gives for each sequence, in their
    /// order.
    fn each_pack<T>(
        &mut self,
        decoder: &Decoder,
        asked: &[Asking<'_>],
        mut look: impl FnMut(&Pack, &[usize]) -> Result<Vec<T>, TrainError>,
    ) -> Result<Option<Vec<T>>, TrainError> {
        let sequences: Vec<Sequence> = asked.iter().map(|asking| asking.sequence.clone()).collect();
        let mut found: Vec<Option<T>> = asked.iter().map(|_| None).collect();
        for places in plan(&sequences, self.config.pack_tokens) {
            if (self.stopped)() {
                return Ok(None);
            }
            let part: Vec<Sequence> =
                places.iter().map(|&place| sequences[place].clone()).collect();
            let temperatures: Vec<f32> =
                places.iter().map(|&place| asked[place].sample.temperature).collect();
            let pack = Pack::new(decoder.config(), &part, &temperatures)?;
            for (&place, result) in places.iter().zip(look(&pack, &places)?) {
                found[place] = Some(result);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Log-probabilities of each response.
    fn logprobs(
        &mut self,
        decoder: &Decoder,
        asked: &[Asking<'_>],
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        self.each_pack(decoder, asked, |pack, places| {
            let all = floats(answers(decoder, pack, None).logprobs)?;
            Ok(parts(&all, places, asked, 1))
        })
    }

    /// The K likeliest ids at each position of each response.
    fn likeliest(
        &mut self,
        decoder: &Decoder,
        asked: &[Asking<'_>],
    ) -> Result<Option<Vec<TopK>>, TrainError> {
        let k = self.k(decoder);
        self.each_pack(decoder, asked, |pack, places| {
            Ok(tops(top(decoder, pack, k)?, places, asked, k))
        })
    }

    /// The K likeliest ids at each position of each response, and log-probabilities at these ids.
    fn likeliest_and_at(
        &mut self,
        decoder: &Decoder,
        asked: &[Asking<'_>],
        ids: &[&[u32]],
    ) -> Result<Option<Vec<TopAndAt>>, TrainError> {
        let k = self.k(decoder);
        self.each_pack(decoder, asked, |pack, places| {
            let wanted = Asked::new(k, wanted(ids, places));
            let (found, answers) = top_and_answers(decoder, pack, k, &wanted)?;
            let at = answers.support.map(floats).transpose()?.unwrap_or_default();
            let tops = tops(found, places, asked, k);
            Ok(tops.into_iter().zip(parts(&at, places, asked, k)).collect())
        })
    }

    /// Log-probabilities at these ids, K for each position of each response.
    fn at(
        &mut self,
        decoder: &Decoder,
        asked: &[Asking<'_>],
        ids: &[&[u32]],
    ) -> Result<Option<Vec<Vec<f32>>>, TrainError> {
        let k = self.k(decoder);
        self.each_pack(decoder, asked, |pack, places| {
            let wanted = Asked::new(k, wanted(ids, places));
            let support = answers(decoder, pack, Some(&wanted)).support;
            let all = support.map(floats).transpose()?.unwrap_or_default();
            Ok(parts(&all, places, asked, k))
        })
    }

    /// K, or the whole vocabulary where it is smaller.
    fn k(&self, decoder: &Decoder) -> usize {
        self.config.support().clamp(1, decoder.config().vocab_size)
    }

    /// `topk`: what the teacher thinks likeliest when it reads the longest hint; of a sample that
    /// brought it along, what it thought when the hint was found.
    fn top_k(&mut self, samples: &[Sample]) -> Result<Option<Vec<Support>>, TrainError> {
        let teacher = self.frozen.teacher;
        let unknown = samples.iter().filter(|sample| sample.teacher_top.is_none());
        let hinted = unknown.map(|sample| {
            let longest = sample.candidates.last();
            let prompt = longest.map_or(&sample.tokens[..sample.response_start], Vec::as_slice);
            Asking::hinted(sample, prompt, teacher)
        });
        let hinted: Vec<Asking<'_>> = hinted.collect::<Result<_, _>>()?;
        let Some(found) = self.likeliest(teacher, &hinted)? else { return Ok(None) };
        let mut found = found.into_iter();
        let supports = samples.iter().filter_map(|sample| {
            let (ids, teacher) = match &sample.teacher_top {
                Some(kept) => (kept.ids.clone(), kept.logprobs.clone()),
                None => found.next().map(|TopK { ids, logprobs }| (ids, logprobs))?,
            };
            Some(Support { mask: vec![1.0; ids.len()], old: Vec::new(), ids, teacher })
        });
        Ok(Some(supports.collect()))
    }

    /// `hybrid`: both sides' likeliest ids, the chosen hint, and the support that comes of it.
    fn hybrid(
        &mut self,
        samples: &[Sample],
        plain: &[Asking<'_>],
    ) -> Result<Option<Vec<Support>>, TrainError> {
        let Frozen { policy, teacher, .. } = self.frozen;
        let Some(students) = self.likeliest(policy, plain)? else { return Ok(None) };
        let (mut hinted, mut owners) = (Vec::new(), Vec::new());
        for (place, sample) in samples.iter().enumerate() {
            for prompt in self.prompts(sample) {
                hinted.push(Asking::hinted(sample, prompt, teacher)?);
                owners.push(place);
            }
        }
        let at_student: Vec<&[u32]> = owners.iter().map(|&o| students[o].ids.as_slice()).collect();
        let found = self.likeliest_and_at(teacher, &hinted, &at_student)?;
        let Some(found) = found else { return Ok(None) };
        let (own, rows): (Vec<TopK>, Vec<Vec<f32>>) = found.into_iter().unzip();
        let mut old = vec![Vec::new(); owners.len()];
        if self.config.hybrid_support == HybridSupport::Teacher {
            let plain = owners.iter().map(|&owner| Asking::plain(&samples[owner], policy));
            let plain: Vec<Asking<'_>> = plain.collect::<Result<_, _>>()?;
            let ids: Vec<&[u32]> = own.iter().map(|own| own.ids.as_slice()).collect();
            let Some(rows) = self.at(policy, &plain, &ids)? else { return Ok(None) };
            old = rows;
        }
        let mut candidates: Vec<Vec<Candidate>> = vec![Vec::new(); samples.len()];
        for (((&owner, own), at_student), old_at_own) in owners.iter().zip(own).zip(rows).zip(old) {
            candidates[owner].push(Candidate { own, at_student, old_at_own });
        }
        let each = samples.iter().zip(students).zip(candidates);
        let supports =
            each.map(|((sample, student), hints)| self.supported(sample, student, &hints));
        Ok(Some(supports.collect()))
    }

    /// The prompts that the teacher reads: those with the hints; in the reference's way the plain
    /// one where there is no hint.
    fn prompts<'s>(&self, sample: &'s Sample) -> Vec<&'s [u32]> {
        if sample.candidates.is_empty() && self.config.opd_without_hint {
            return vec![&sample.tokens[..sample.response_start]];
        }
        sample.candidates.iter().map(Vec::as_slice).collect()
    }

    fn supported(&self, sample: &Sample, student: TopK, hints: &[Candidate]) -> Support {
        let k = student.ids.len() / sample.response_tokens();
        if hints.is_empty() {
            let none = vec![0.0; student.ids.len()];
            return Support {
                mask: none.clone(),
                teacher: none,
                old: student.logprobs,
                ids: student.ids,
            };
        }
        let overlaps: Vec<Vec<usize>> =
            hints.iter().map(|hint| overlap(&student.ids, &hint.own.ids, k)).collect();
        // The reference counts every token, ours those that are trained on.
        let all = self.config.opd_without_hint;
        let counted: Vec<bool> = sample.mask().iter().map(|mask| all || *mask > 0.0).collect();
        let selection = match self.config.hybrid_selection {
            HybridSelection::Shortest => Selection::Shortest,
            HybridSelection::TokenOptimal => Selection::TokenOptimal,
            HybridSelection::SequenceOptimal => Selection::SequenceOptimal,
        };
        let kind = match self.config.hybrid_support {
            HybridSupport::Student => SupportKind::Student,
            HybridSupport::Teacher => SupportKind::Teacher,
            HybridSupport::Overlap => SupportKind::Overlap,
        };
        support(kind, &student, hints, &choose(selection, &overlaps, &counted), k)
    }
}

/// The ids that some sequences ask for, one after the other.
fn wanted(ids: &[&[u32]], places: &[usize]) -> Vec<u32> {
    places.iter().flat_map(|&place| ids[place]).copied().collect()
}

/// The likeliest ids of each sequence of a pack.
fn tops(found: Found, places: &[usize], asked: &[Asking<'_>], k: usize) -> Vec<TopK> {
    let ids = parts(&found.ids, places, asked, k);
    let rows = ids.into_iter().zip(parts(&found.logprobs, places, asked, k));
    rows.map(|(ids, logprobs)| TopK { ids, logprobs }).collect()
}

/// A row of values for each sequence of a pack, `width` for each of its response tokens.
fn parts<T: Clone>(all: &[T], places: &[usize], asked: &[Asking<'_>], width: usize) -> Vec<Vec<T>> {
    let mut at = 0;
    let part = |&place: &usize| {
        let from = at;
        at += width * asked[place].sample.response_tokens();
        all[from..at].to_vec()
    };
    places.iter().map(part).collect()
}
